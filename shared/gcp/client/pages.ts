import { setTimeout as sleep } from 'node:timers/promises';
import { RetryableError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { call, type CallOptions } from './call';

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
  throw new RetryableError(
    'out-of-time',
    `Cannot ${action}: timed out`,
    'The functions retry it. If it persists, give them more time.',
    5,
  );
}
