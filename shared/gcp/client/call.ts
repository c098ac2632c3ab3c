import { setTimeout as sleep } from 'node:timers/promises';
import { RetryableError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { makeApiCallCounter, makeRateLimiter } from '../../core/util/api-calls';
import { findPeermasqError, toPeermasqError } from './errors';

const callTimeoutMs = 30_000;

export type CallOptions = ReturnType<typeof callOptions>;

/**
 * Options for a single attempt, which ends when the remaining time is over. `callWithAttempts` makes the retries.
 * Without `autoPaginate: false`, the async iterables of lists log a warning.
 */
function callOptions(deadline: Deadline) {
  const timeout = Math.min(callTimeoutMs, Math.max(1, deadline - Date.now()));
  return { timeout, retry: { retryCodes: [] }, autoPaginate: false };
}

export interface Call {
  /** Completes the message `Cannot …`, for example `read instance 123`. */
  readonly action: string;
  readonly deadline: Deadline;
  readonly attempts: number;
}

/**
 * Calls the API, and retries until the call succeeds or fails permanently, or until the time, the attempts or the retry
 * budget is used up. Without this function, the official client retries reads only on 503, and never retries writes.
 * @throws PermanentError | RetryableError
 */
export function call<T>(
  action: string,
  deadline: Deadline,
  send: (options: CallOptions) => Promise<T>,
): Promise<T> {
  return callWithAttempts({ action, deadline, attempts: 5 }, send);
}

export async function callWithAttempts<T>(
  { action, deadline, attempts }: Call,
  send: (options: CallOptions) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      const result = await send(callOptions(deadline));
      budget.retries = Math.min(maxRetries, budget.retries + retriesPerSuccess);
      return result;
    } catch (thrown) {
      // An inner call has already classified the error, and has retried if that could help.
      const own = findPeermasqError(thrown);
      if (own) throw own;
      const error = toPeermasqError(action, thrown);
      if (error.code === 'throttled') apiCalls.countThrottle();
      const pauseMs = backoffMs(attempt);
      const isLastAttempt = attempt >= attempts || Date.now() + pauseMs >= deadline;
      if (!(error instanceof RetryableError) || isLastAttempt || !mayRetry(error)) throw error;
      await sleep(pauseMs);
    }
  }
}

const firstPauseMs = 200;
const maxPauseMs = 5_000;

/**
 * Returns a random pause, so that writers that collided do not collide again. Its maximum doubles with each attempt,
 * from 200 ms to 5 s.
 */
const backoffMs = (attempt: number): number =>
  Math.random() * Math.min(maxPauseMs, firstPauseMs * 2 ** attempt);

/**
 * All retries in the process share a budget, as in gRPC's retry throttling, because five attempts for every call
 * would overload an API that is failing. The budget is at most 50 retries, and every five successful calls add one.
 */
const budget = { retries: 50 };
const maxRetries = 50;
const retriesPerSuccess = 0.2;

/**
 * Whether a retry is allowed. Conflicts and resources that are not ready do not mean that the API is failing, so they
 * do not use the budget.
 */
function mayRetry({ code }: RetryableError): boolean {
  if (code === 'conflict' || code === 'not-ready') return true;
  if (budget.retries < 1) return false;
  budget.retries -= 1;
  return true;
}

export interface Listing<Entry, Item> {
  /** Completes the message `Cannot …`, for example `list the routes of my-project`. */
  readonly action: string;
  readonly deadline: Deadline;
  /**
   * Starts the listing. An aggregated list has an entry for each zone or region; other lists have one for each item.
   */
  readonly list: (options: CallOptions) => Promise<AsyncIterable<Entry>>;
  readonly toItems: (entry: Entry) => readonly Item[];
}

/**
 * Returns the items of all pages, in order. The client requests the pages itself, hides the page tokens, and uses the
 * first page's timeout for all pages. The deadline is therefore checked here. The check also ends a listing whose pages
 * repeat.
 */
export function listAll<Entry, Item>(listing: Listing<Entry, Item>): Promise<Item[]> {
  const { action, deadline } = listing;
  return call(action, deadline, async (options) => {
    const timer = new AbortController();
    const timeout = sleep(Math.max(0, deadline - Date.now()), undefined, { signal: timer.signal });
    try {
      return await Promise.race([readEntries(listing, options), timeout.then(() => timedOut(action))]);
    } finally {
      timer.abort();
    }
  });
}

async function readEntries<Entry, Item>(
  { action, deadline, list, toItems }: Listing<Entry, Item>,
  options: CallOptions,
): Promise<Item[]> {
  const items: Item[] = [];
  for await (const entry of await list(options)) {
    if (Date.now() >= deadline) timedOut(action);
    items.push(...toItems(entry));
  }
  return items;
}

function timedOut(action: string): never {
  throw new RetryableError('out-of-time', `Cannot ${action}: timed out`, {
    advice: 'The functions retry automatically. If the timeouts persist, raise the timeout of the functions.',
    retryAfterSeconds: 5,
  });
}

/** Maps the items, with at most `limit` calls in progress. Results are in the order of the items. */
export async function mapLimited<T, R>(
  items: readonly T[],
  map: (item: T) => Promise<R>,
  limit = 20,
): Promise<R[]> {
  const results: R[] = [];
  const queue = items.entries();
  const work = async () => {
    for (const [index, item] of queue) results[index] = await map(item);
  };
  await Promise.all(Array.from({ length: limit }, work));
  return results;
}

/** Counts the calls of the whole process, including those of concurrent invocations. */
export const apiCalls = makeApiCallCounter();

/**
 * The longest wait for the rate limiter. A call that would have to wait longer fails immediately and is retried later.
 * The limit is below the 30 seconds that a call may take.
 */
const maxWaitMs = 20_000;

const rateLimited = () =>
  new RetryableError('throttled', 'Too many Compute Engine calls are queued in this process', {
    advice:
      'The functions retry automatically. Do not add function instances, because they would exhaust the quota.',
    retryAfterSeconds: 30,
  });

/**
 * Writes and reads of guest attributes share a quota of 1,500 calls per minute, project and region; other reads have
 * a separate quota of the same size (https://cloud.google.com/compute/api-quota). The limits leave quota for other
 * users of the project. Reports have a separate limiter, so that writes of rule sets do not have to wait for them.
 * Bursts are large, so that nodes that join at the same time get their rule sets before they boot.
 */
const limiters = {
  write: makeRateLimiter(150, 1_000 / 10, maxWaitMs),
  report: makeRateLimiter(50, 1_000 / 8, maxWaitMs),
  read: makeRateLimiter(400, 1_000 / 12, maxWaitMs),
};

type Fetch = (url: string, init?: { method?: string }) => Promise<unknown>;

/** The part of GoogleAuth that the official clients use for all calls. */
interface FetchingAuth {
  fetch: unknown;
}

/** Counts each call of the clients (each page of a list is one call), and delays calls that exceed the rate limit. */
export function limitAndCountCalls(auth: FetchingAuth): void {
  const send = (auth.fetch as Fetch).bind(auth);
  auth.fetch = async (...args: Parameters<Fetch>): Promise<unknown> => {
    const wait = limiters[limiterFor(...args)](Date.now());
    if (wait === undefined) throw rateLimited();
    if (wait > 0) await sleep(wait);
    apiCalls.countCall();
    return send(...args);
  };
}

function limiterFor(...[url, init]: Parameters<Fetch>): keyof typeof limiters {
  if (url.includes('/getGuestAttributes')) return 'report';
  return init?.method?.toUpperCase() === 'POST' ? 'write' : 'read';
}
