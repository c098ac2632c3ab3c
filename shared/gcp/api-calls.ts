import { setTimeout as pause } from 'node:timers/promises';
import { makeTally } from '../core/api-calls';
import { RetryableError } from '../core/errors';
import { takeTurns } from '../core/turns';

/** Of the process. */
export const apiCalls = makeTally();

/** A call has 30 seconds; whoever cannot be answered in them is told at once, and comes again. */
const longestWaitMs = 20_000;

const tooMany = () =>
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
const turns = {
  write: takeTurns(150, 1_000 / 10, longestWaitMs),
  report: takeTurns(50, 1_000 / 8, longestWaitMs),
  read: takeTurns(400, 1_000 / 12, longestWaitMs),
};

type Fetch = (url: string, init?: { method?: string }) => Promise<unknown>;

/** As much of GoogleAuth as all calls of the official clients go through. */
interface Fetching {
  fetch: unknown;
}

/** Counts each call of these clients, lists page by page, and has it wait its turn. */
export function paceCalls(auth: Fetching): void {
  const send = (auth.fetch as Fetch).bind(auth);
  auth.fetch = async (...args: Parameters<Fetch>): Promise<unknown> => {
    const wait = turns[groupOf(...args)](Date.now());
    if (wait === undefined) throw tooMany();
    if (wait > 0) await pause(wait);
    apiCalls.called();
    return send(...args);
  };
}

function groupOf(...[url, init]: Parameters<Fetch>): keyof typeof turns {
  if (url.includes('/getGuestAttributes')) return 'report';
  return init?.method?.toUpperCase() === 'POST' ? 'write' : 'read';
}
