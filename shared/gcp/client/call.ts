import { setTimeout as sleep } from 'node:timers/promises';
import { RetryableError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { makeApiCallCounter, makeRateLimiter } from '../../core/util/api-calls';
import { findPeermasqError, toPeermasqError } from './errors';

const callTimeoutMs = 30_000;

export type CallOptions = ReturnType<typeof callOptions>;

/**
 * One attempt within the remaining time; `callWithAttempts` retries. The async iterables of lists log a
 * warning unless `autoPaginate` is false.
 */
function callOptions(deadline: Deadline) {
  const timeout = Math.min(callTimeoutMs, Math.max(1, deadline - Date.now()));
  return { timeout, retry: { retryCodes: [] }, autoPaginate: false };
}

export interface Call {
  /** Continues `Cannot …`: `read instance 123`. */
  readonly action: string;
  readonly deadline: Deadline;
  readonly attempts: number;
}

/**
 * Retries until a call succeeds, fails for good, or no time, attempt or retry budget is left. The official client
 * retries reads on 503, and writes never.
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
      // Already classified, and retried where that makes sense, by an inner call.
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

/** Doubles from 200 ms to 5 s, with full jitter so that writers that collided do not collide again. */
const backoffMs = (attempt: number): number =>
  Math.random() * Math.min(maxPauseMs, firstPauseMs * 2 ** attempt);

/**
 * When the API is failing, five attempts at every call would only add load. All retries in the process share a budget,
 * as in gRPC's retry throttling: at most 50, refilled by one for every five calls that succeed.
 */
const budget = { retries: 50 };
const maxRetries = 50;
const retriesPerSuccess = 0.2;

/** Conflicts between writers do not mean that the API is failing. */
function mayRetry({ code }: RetryableError): boolean {
  if (code === 'conflict' || code === 'not-ready') return true;
  if (budget.retries < 1) return false;
  budget.retries -= 1;
  return true;
}

export interface Listing<Entry, Item> {
  /** Continues `Cannot …`: `list the routes of my-project`. */
  readonly action: string;
  readonly deadline: Deadline;
  /** An aggregated list has an entry for each zone or region, other lists one for each item. */
  readonly list: (options: CallOptions) => Promise<AsyncIterable<Entry>>;
  readonly toItems: (entry: Entry) => readonly Item[];
}

/**
 * Lists all pages, in order. The client pages by itself, hides the page tokens and takes the timeout of the first page
 * for all of them. So the deadline is checked here, and also ends a listing whose pages repeat.
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
    advice: 'The functions retry it. If it persists, raise their timeout.',
    retryAfterSeconds: 5,
  });
}

/** At most `limit` at a time, with results in the order of the items. */
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

/** Counts per process, across concurrent invocations. */
export const apiCalls = makeApiCallCounter();

/** Below the 30 seconds that a call may take: a call that would wait longer fails at once and is retried later. */
const maxWaitMs = 20_000;

const rateLimited = () =>
  new RetryableError('throttled', 'Too many Compute Engine calls are queued in this process', {
    advice: 'The functions retry it. More function instances would only exhaust the quota.',
    retryAfterSeconds: 30,
  });

/**
 * Writes and reads of guest attributes share 1,500 calls a minute per project and region; other reads have as many
 * (https://cloud.google.com/compute/api-quota). Both limits leave quota for other users of the project. Reports have a
 * limiter of their own, so that writes of rule sets do not wait behind them. Bursts are large so that the rule sets of
 * nodes that join together are written before the nodes boot.
 */
const limiters = {
  write: makeRateLimiter(150, 1_000 / 10, maxWaitMs),
  report: makeRateLimiter(50, 1_000 / 8, maxWaitMs),
  read: makeRateLimiter(400, 1_000 / 12, maxWaitMs),
};

type Fetch = (url: string, init?: { method?: string }) => Promise<unknown>;

/** The part of GoogleAuth that all calls of the official clients go through. */
interface FetchingAuth {
  fetch: unknown;
}

/** Counts each call of these clients (for lists, each page) and delays it when the rate limit is reached. */
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
