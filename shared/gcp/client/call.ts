import { setTimeout as sleep } from 'node:timers/promises';
import { RetryableError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { findPeermasqError, toPeermasqError } from './errors';

const callTimeoutMs = 30_000;

export type CallOptions = ReturnType<typeof callOptions>;

/**
 * One attempt within the remaining time: `callWithAttempts` decides about retries. The async iterables of lists log a
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
 * Five attempts at every call would only add load when the API is failing. Retries draw on a budget of the process, as
 * in gRPC's retry throttling: at most 50, refilled by one for every five calls that succeed.
 */
const budget = { retries: 50 };
const maxRetries = 50;
const retriesPerSuccess = 0.2;

/** Conflicts between writers are no sign of an API that is failing. */
function mayRetry({ code }: RetryableError): boolean {
  if (code === 'conflict' || code === 'not-ready') return true;
  if (budget.retries < 1) return false;
  budget.retries -= 1;
  return true;
}

/** At most `limit` at a time, results in the order of the items. */
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
