import { messageOf, PermanentError, RetryableError, type PeermasqError } from '../../core/model/errors';
import { findAccountError } from './account-errors';
import { adviceFor, type Action } from './permissions';

const denials = /^(UnauthorizedOperation|AccessDenied(Exception)?|AuthFailure)$/;
const throttles =
  /^(RequestLimitExceeded|EC2ThrottledException|RequestThrottled|Throttl.*|TooManyRequestsException)$/;
/**
 * Error names and codes of the SDK and of Node.js that mean a network error. The retry strategy of @smithy/core uses
 * the same list.
 */
const networkErrors = new Set([
  'TimeoutError',
  'RequestTimeout',
  'RequestTimeoutException',
  'AbortError',
  'NetworkingError',
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

/** Classifies an SDK error. If peermasq defines no code for the error, the code is the name of the AWS error. */
export function toPeermasqError(action: Action, thrown: unknown): PeermasqError {
  const name = thrown instanceof Error ? thrown.name : 'Error';
  const message = `${action} failed: ${name}: ${messageOf(thrown)}`;
  const accountError = findAccountError(name, messageOf(thrown));
  if (accountError?.isRetryable)
    return new RetryableError(accountError.code, message, {
      advice: accountError.advice,
      retryAfterSeconds: 5,
      cause: thrown,
    });
  if (accountError)
    return new PermanentError(accountError.code, message, { advice: accountError.advice, cause: thrown });
  if (denials.test(name)) return accessDenied(action, thrown);
  if (isThrottle(thrown)) {
    const advice =
      'The functions retry automatically. If throttling persists, raise the quota or lower the concurrency.';
    return new RetryableError('throttled', message, { advice, retryAfterSeconds: 10, cause: thrown });
  }
  const status = httpStatusOf(thrown);
  // For network errors and 5xx responses, the request itself may be correct, so a retry may succeed.
  const isTransient = status === undefined ? isNetworkError(thrown) : status >= 500;
  if (isTransient)
    return new RetryableError('unavailable', message, {
      advice: 'The functions retry automatically.',
      retryAfterSeconds: 5,
      cause: thrown,
    });
  if (status === undefined) {
    const advice =
      'The request did not reach AWS, and the network is not the cause. Report a bug with the stack trace.';
    return new PermanentError('unexpected', message, { advice, cause: thrown });
  }
  return new PermanentError(name, message, {
    advice: `See ${name} in the API reference for ${action}.`,
    cause: thrown,
  });
}

function accessDenied(action: Action, thrown: unknown): PermanentError {
  const [, resource = '*'] = /on resource: (\S+)/.exec(messageOf(thrown)) ?? [];
  return new PermanentError('access-denied', `${action} on ${resource} was denied: ${messageOf(thrown)}`, {
    advice: adviceFor(action, resource),
    cause: thrown,
  });
}

export function isThrottle(thrown: unknown): boolean {
  return thrown instanceof Error && throttles.test(thrown.name);
}

/** Returns undefined if there was no response. */
function httpStatusOf(thrown: unknown): number | undefined {
  return (thrown as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode;
}

function isNetworkError(thrown: unknown): boolean {
  const { name, code } = thrown as { name?: unknown; code?: unknown };
  return [name, code].some((value) => typeof value === 'string' && networkErrors.has(value));
}

/** Also matches malformed ids, because they occur in error messages of AWS. */
const instanceIdPattern = /\bi-\w+/g;

/**
 * Returns the ids that an error message mentions. When a call for several ids fails, only the message shows which ids
 * caused the error.
 */
export function idsMentionedIn(error: PeermasqError, ids: readonly string[]): string[] {
  const mentioned = new Set(error.message.match(instanceIdPattern));
  return ids.filter((id) => mentioned.has(id));
}

const instanceNotFound = /^InvalidInstanceID\.(NotFound|Malformed)$/;

/**
 * Makes a call for several instances. A single missing or malformed id makes the whole call fail, so the call is
 * repeated without the ids that the error names.
 */
export async function retryWithoutMissing<T>(
  ids: readonly string[],
  send: (ids: string[]) => Promise<T>,
): Promise<T | undefined> {
  let remaining = [...ids];
  while (remaining.length > 0) {
    try {
      return await send(remaining);
    } catch (error) {
      if (!(error instanceof PermanentError && instanceNotFound.test(error.code))) throw error;
      const missing = new Set(idsMentionedIn(error, remaining));
      if (missing.size === 0) throw error;
      remaining = remaining.filter((id) => !missing.has(id));
    }
  }
  return undefined;
}
