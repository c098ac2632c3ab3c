import { setTimeout as pause } from 'node:timers/promises';
import { makeApiCallCounter } from '../../core/util/api-call-counter';
import { RetryableError } from '../../core/model/errors';
import { makeRateLimiter } from '../../core/util/rate-limiter';

/** Of the process. */
export const apiCalls = makeApiCallCounter();

/** A call has 30 seconds; whoever cannot be answered in them is told at once, and comes again. */
const maxWaitMs = 20_000;

const rateLimited = () =>
  new RetryableError(
    'throttled',
    'Too many calls to Compute Engine wait for their turn',
    'It is tried again; more instances of the function would only exhaust the quota.',
    30,
  );

/**
 * Calls a second, by what they are. Writes and questions for guest attributes share 1,500 a minute of a project and
 * region, reads have as many (https://cloud.google.com/compute/api-quota), and they are not ours alone. The many
 * questions for reports have turns of their own, so that nobody's rule set waits behind them; and many calls go at
 * once, because nodes that join together race their boots.
 */
const limiters = {
  write: makeRateLimiter(150, 1_000 / 10, maxWaitMs),
  report: makeRateLimiter(50, 1_000 / 8, maxWaitMs),
  read: makeRateLimiter(400, 1_000 / 12, maxWaitMs),
};

type Fetch = (url: string, init?: { method?: string }) => Promise<unknown>;

/** As much of GoogleAuth as all calls of the official clients go through. */
interface FetchingAuth {
  fetch: unknown;
}

/** Counts each call of these clients, lists page by page, and has it wait its turn. */
export function limitAndCountCalls(auth: FetchingAuth): void {
  const send = (auth.fetch as Fetch).bind(auth);
  auth.fetch = async (...args: Parameters<Fetch>): Promise<unknown> => {
    const wait = limiters[limiterFor(...args)](Date.now());
    if (wait === undefined) throw rateLimited();
    if (wait > 0) await pause(wait);
    apiCalls.countCall();
    return send(...args);
  };
}

function limiterFor(...[url, init]: Parameters<Fetch>): keyof typeof limiters {
  if (url.includes('/getGuestAttributes')) return 'report';
  return init?.method?.toUpperCase() === 'POST' ? 'write' : 'read';
}
