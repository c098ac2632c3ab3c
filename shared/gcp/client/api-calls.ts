import { setTimeout as sleep } from 'node:timers/promises';
import { RetryableError } from '../../core/model/errors';
import { makeApiCallCounter, makeRateLimiter } from '../../core/util/api-calls';

/** Counts per process, across concurrent invocations. */
export const apiCalls = makeApiCallCounter();

/** Below the 30 seconds that a call may take: a call that would wait longer fails at once and is retried later. */
const maxWaitMs = 20_000;

const rateLimited = () =>
  new RetryableError(
    'throttled',
    'Too many Compute Engine calls are queued in this process',
    'The functions retry it. More function instances would only exhaust the quota.',
    30,
  );

/**
 * Writes and reads of guest attributes share 1,500 calls a minute per project and region; other reads have as many
 * (https://cloud.google.com/compute/api-quota). Other users of the project need some of both. Reports have a limiter
 * of their own, so that writes of rule sets do not wait behind them. Bursts are large because nodes that join together
 * race their boots.
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

/** Counts each call of these clients, lists page by page, and delays it where the limit is reached. */
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
