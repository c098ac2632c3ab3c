import { PermanentError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { call, type CallOptions } from './call';
import type { Action } from './permissions';

/** The maximum number of values in all filters of one EC2 call (EC2 API reference, "List and filter"). */
export const filterValuesLimit = 200;

interface Page {
  readonly NextToken?: string | undefined;
}

/**
 * Returns all pages in order. Each page is a separate call, so the deadline also applies between pages.
 * @throws PeermasqError also if a page token repeats, because the listing would otherwise never end
 */
export async function listAll<T extends Page>(
  action: Action,
  deadline: Deadline,
  send: (next: { NextToken?: string }, options: CallOptions) => Promise<T>,
): Promise<T[]> {
  const pages: T[] = [];
  const tokens = new Set<string>();
  let next: { NextToken?: string } = {};
  for (;;) {
    const page = await call(action, deadline, (options) => send(next, options));
    pages.push(page);
    const token = page.NextToken;
    if (!token) return pages;
    if (tokens.has(token)) throw repeatedToken(action);
    tokens.add(token);
    next = { NextToken: token };
  }
}

const repeatedToken = (action: Action) =>
  new PermanentError('repeated-page', `${action} returned the same page token twice`, {
    advice: 'The listing would never end. Report it to AWS Support.',
  });
