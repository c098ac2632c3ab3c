import { messageOf, PeermasqError, PermanentError, RetryableError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { findAccountError } from './account-errors';
import { adviceFor, type Action } from './permissions';
import { isThrottle } from './throttles';

/**
 * Three attempts, and beyond that the queue. The adaptive mode would hold every later call of the client at one
 * in two seconds after a single throttled one (measured), because a function makes too few calls to measure.
 */
export const clientSettings = {
  retryMode: 'standard',
  maxAttempts: 3,
  requestHandler: { connectionTimeout: 2_000, requestTimeout: 10_000, throwOnRequestTimeout: true },
} as const;

/** Milliseconds. Three attempts and their pauses fit in; more says that something is stuck. */
const callLimitMs = 60_000;

/**
 * Makes one call, ended by the deadline at the latest.
 * @throws PeermasqError whose cause is the SDK's error
 */
export async function call<T>(
  action: Action,
  deadline: Deadline,
  send: (options: { abortSignal: AbortSignal }) => Promise<T>,
): Promise<T> {
  const remainingMs = deadline - Date.now();
  if (remainingMs <= 0) throw timedOut(action);
  const abortSignal = AbortSignal.timeout(Math.min(remainingMs, callLimitMs));
  try {
    return await send({ abortSignal });
  } catch (thrown) {
    // What made the credentials of this call has its own words for what went wrong.
    if (thrown instanceof PeermasqError) throw thrown;
    throw abortSignal.aborted ? timedOut(action, thrown) : toPeermasqError(action, thrown);
  }
}

function timedOut(action: Action, cause?: unknown): RetryableError {
  return new RetryableError(
    'out-of-time',
    `No time was left for ${action}`,
    'It is tried again; if it stays so, give the function more time or smaller batches.',
    5,
    cause,
  );
}

const denials = /^(UnauthorizedOperation|AccessDenied(Exception)?|AuthFailure)$/;
/** As the SDK and Node.js call them (the retry strategy of @smithy/core has the same list). */
const networkErrors = new Set([
  ...['TimeoutError', 'RequestTimeout', 'RequestTimeoutException', 'AbortError', 'NetworkingError'],
  ...['ECONNRESET', 'ECONNREFUSED', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT'],
  ...['ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'],
]);
/** Says whether trying again can help. `code` is AWS's own wherever no better word exists. */
function toPeermasqError(action: Action, thrown: unknown): PeermasqError {
  const name = thrown instanceof Error ? thrown.name : 'Error';
  const failure = `${action} failed: ${name}: ${messageOf(thrown)}`;
  const accountError = findAccountError(name, messageOf(thrown));
  if (accountError?.isRetryable)
    return new RetryableError(accountError.code, failure, accountError.advice, 5, thrown);
  if (accountError) return new PermanentError(accountError.code, failure, accountError.advice, thrown);
  if (denials.test(name)) return denied(action, messageOf(thrown), thrown);
  if (isThrottle(thrown)) {
    const advice = 'It is tried again; raise the quota or lower the concurrency if it stays so.';
    return new RetryableError('throttled', failure, advice, 10, thrown);
  }
  const status = statusOf(thrown);
  // A server that failed and a network that did say nothing about the request.
  const isTransient = status === undefined ? isNetworkError(thrown) : status >= 500;
  if (isTransient) {
    return new RetryableError('unavailable', failure, 'It is tried again.', 5, thrown);
  }
  if (status === undefined) {
    const advice = 'AWS was not reached, and not for the network: report it with the stack of its cause.';
    return new PermanentError('unexpected', failure, advice, thrown);
  }
  return new PermanentError(name, failure, `See what ${action} says about ${name}.`, thrown);
}

function denied(action: Action, message: string, cause: unknown): PermanentError {
  const [, resource = '*'] = /on resource: (\S+)/.exec(message) ?? [];
  return new PermanentError(
    'access-denied',
    `${action} on ${resource} is not allowed: ${message}`,
    adviceFor(action, resource),
    cause,
  );
}

/** The HTTP status of the answer; undefined where there was none. */
function statusOf(thrown: unknown): number | undefined {
  return (thrown as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode;
}

function isNetworkError(thrown: unknown): boolean {
  const { name, code } = thrown as { name?: unknown; code?: unknown };
  return [name, code].some((word) => typeof word === 'string' && networkErrors.has(word));
}

/** Values in all filters of one EC2 call together (EC2 API reference, "List and filter": 200). */
export const filterValuesLimit = 200;

/** All pages of a listing, in order. */
export async function allPages<Page extends { NextToken?: string | undefined }>(
  read: (next: { NextToken?: string }) => Promise<Page>,
): Promise<Page[]> {
  const pages = [await read({})];
  for (;;) {
    const token = pages.at(-1)?.NextToken;
    if (!token) return pages;
    pages.push(await read({ NextToken: token }));
  }
}

export function chunks<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size));
}

/** Also what only resembles an instance id: AWS names those when it calls them malformed. */
const instanceIds = /\bi-\w+/g;

/** Those of `ids` that an error's message names: AWS says only there which of many it objects to. */
export function idsMentionedIn(error: PeermasqError, ids: readonly string[]): string[] {
  const named = new Set(error.message.match(instanceIds));
  return ids.filter((id) => named.has(id));
}

const instanceNotFound = /^InvalidInstanceID\.(NotFound|Malformed)$/;

/**
 * Makes one call for many instances. AWS refuses the whole call for one instance that does not exist, or whose
 * id it cannot read, so those it names are left out and the call is made again.
 */
export async function retryWithoutMissing<T>(
  ids: readonly string[],
  make: (ids: string[]) => Promise<T>,
): Promise<T | undefined> {
  let left = [...ids];
  while (left.length > 0) {
    try {
      return await make(left);
    } catch (error) {
      if (!(error instanceof PermanentError && instanceNotFound.test(error.code))) throw error;
      const missing = new Set(idsMentionedIn(error, left));
      if (missing.size === 0) throw error;
      left = left.filter((id) => !missing.has(id));
    }
  }
  return undefined;
}
