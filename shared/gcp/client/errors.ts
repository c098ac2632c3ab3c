import { messageOf, PeermasqError, PermanentError, RetryableError } from '../../core/model/errors';
import { definedOnly } from '../../core/util/collections';
import { tryParse } from '../../core/util/functional';
import { findAccountError, loginAdvice } from './account-errors';
import { predefinedRoleOf, roleOf } from './permissions';

/**
 * Returns the PermanentError or RetryableError inside an error, because the client wraps errors that are thrown while
 * it sends a request. Undefined for other errors.
 */
export function findPeermasqError(thrown: unknown): PeermasqError | undefined {
  const candidates = [thrown, property(thrown, 'cause')];
  return candidates.find((error) => error instanceof PeermasqError);
}

interface ErrorDetails {
  readonly text: string;
  /** The HTTP status. Absent if there was no response. */
  readonly status?: number;
  /**
   * The reason, such as `rateLimitExceeded` or `conditionNotMet`. It distinguishes a 403 for an exhausted quota from
   * a 403 for a missing permission.
   */
  readonly reason?: string;
  readonly isNetworkError: boolean;
}

/** The HTTP status for each gRPC code. The client reports a gRPC code if it has no HTTP status. */
const statusOfCode: Readonly<Record<number, number>> = {
  3: 400,
  4: 504,
  5: 404,
  7: 403,
  8: 429,
  9: 412,
  10: 409,
  13: 500,
  14: 503,
  16: 401,
};

const property = (from: unknown, name: string | symbol): unknown =>
  typeof from === 'object' && from !== null ? Reflect.get(from, name) : undefined;

/**
 * Reads the details of an error. Version 7 of the client throws a GoogleError (gRPC `code`, `httpStatusCode`),
 * version 6 a GaxiosError.
 */
function errorDetails(thrown: unknown): ErrorDetails {
  const status = ['httpStatusCode', 'status', 'code']
    .map((name) => property(thrown, name))
    .filter((value) => typeof value === 'number')
    .map((value) => statusOfCode[value] ?? value)
    .find((value) => value >= 400 && value < 600);
  return {
    text: messageOf(thrown),
    isNetworkError: isNetworkError(thrown),
    ...definedOnly({ status, reason: reasonOf(thrown) }),
  };
}

/** Whether there was no response: a system error, or gRPC's DEADLINE_EXCEEDED or UNAVAILABLE without an HTTP status. */
function isNetworkError(thrown: unknown): boolean {
  const httpStatus = property(thrown, 'httpStatusCode') ?? property(thrown, 'status');
  const code = property(thrown, 'code');
  if (typeof code === 'string') return /^(E[A-Z]+|EAI_AGAIN)$/.test(code);
  return typeof httpStatus !== 'number' && (code === 4 || code === 14);
}

/** The symbol under which the client keeps the text of the response. The client itself drops `errors[].reason`. */
const rawResponse = Symbol.for('google-gax.rawHttpResponsePayload');

function reasonOf(thrown: unknown): string | undefined {
  const raw = property(thrown, rawResponse) ?? property(property(thrown, 'response'), 'data');
  // A proxy may respond with HTML. In that case only the status is used.
  const body = typeof raw === 'string' ? tryParse<unknown>(() => JSON.parse(raw)) : raw;
  const errors = property(property(body, 'error'), 'errors') ?? property(thrown, 'errors');
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  const reason = property(first, 'reason') ?? property(thrown, 'reason');
  return typeof reason === 'string' ? reason : undefined;
}

/**
 * Classifies an error that the client threw.
 * @param action completes the message `Cannot …`, for example `read instance 123`
 */
export function toPeermasqError(action: string, thrown: unknown): PeermasqError {
  const own = findPeermasqError(thrown);
  if (own) return own;
  const details = errorDetails(thrown);
  const { text, reason = '' } = details;
  const accountError = findAccountError(`${reason} ${text}`);
  if (accountError) {
    const { code, summary, advice } = accountError;
    return new PermanentError(code, `Cannot ${action}: ${summary}`, { advice, cause: thrown });
  }
  const message = `Cannot ${action}: ${text}`;
  const retry = retryFor(details);
  if (!retry) {
    const { code, advice } = permanentError(details);
    return new PermanentError(code, message, { advice, cause: thrown });
  }
  return new RetryableError(retry.code, message, {
    advice: retry.advice,
    retryAfterSeconds: retry.seconds,
    cause: thrown,
  });
}

interface Retry {
  readonly code: string;
  readonly advice: string;
  readonly seconds: number;
}

/** Returns undefined if a retry cannot help. */
function retryFor(details: ErrorDetails): Retry | undefined {
  const { status = 0, reason, isNetworkError } = details;
  if (isNetworkError) {
    const advice = 'The functions retry automatically. If the error persists, check the network.';
    return { code: 'unreachable', advice, seconds: 5 };
  }
  if (status === 429 || isQuotaError(details)) {
    const advice =
      'The functions retry automatically. If throttling persists, raise the Compute Engine quota.';
    return { code: 'throttled', advice, seconds: 30 };
  }
  if (status === 412 && !isPolicyError(details)) {
    return {
      code: 'conflict',
      advice: 'Another process has changed the resource. The functions retry automatically.',
      seconds: 1,
    };
  }
  if (status === 409 || reason === 'resourceNotReady') {
    return {
      code: 'not-ready',
      advice: 'The resource is not ready yet. The functions retry automatically.',
      seconds: 5,
    };
  }
  if (status >= 500 || status === 408) {
    return {
      code: 'unavailable',
      advice: 'Google Cloud could not serve the request. The functions retry automatically.',
      seconds: 10,
    };
  }
  return undefined;
}

const quotaReasons = /^(rateLimitExceeded|userRateLimitExceeded|quotaExceeded|RATE_LIMIT_EXCEEDED)$/;

/** Whether the quota is exhausted. The error has the same status as a missing permission. */
const isQuotaError = ({ status, reason = '', text }: ErrorDetails): boolean =>
  status === 403 && (quotaReasons.test(reason) || /rate limit|quota exceeded/i.test(text));

/** Whether an organisation policy rejected the request. The error has the same status as a stale fingerprint. */
const isPolicyError = ({ status, text }: ErrorDetails): boolean =>
  status === 412 && /\bconstraint/i.test(text);

function permanentError(details: ErrorDetails): { readonly code: string; readonly advice: string } {
  const { status, text } = details;
  if (isPolicyError(details)) {
    return {
      code: 'policy',
      advice: 'An organisation policy forbids the request. Contact the administrator of your organisation.',
    };
  }
  if (status === 404) return { code: 'not-found', advice: 'The resource does not exist or was deleted.' };
  if (status === 403) return { code: 'permission-denied', advice: permissionAdvice(text) };
  // Google Cloud sends this error with status 400. A caller that changes a VM must be allowed to act as the VM's
  // service account.
  if (/\b(SERVICE_ACCOUNT_ACCESS_DENIED|iam\.serviceAccountUser)\b/.test(text)) {
    return {
      code: 'permission-denied',
      advice:
        "Grant iam.serviceAccounts.actAs on the node's service account to the caller (the service account of the function, or you).",
    };
  }
  if (status === 401) return { code: 'no-credentials', advice: loginAdvice };
  return {
    code: 'refused',
    advice: 'Google Cloud rejects this request, and a retry cannot help. Report a bug.',
  };
}

const permissionText = /Required '([A-Za-z0-9.]+)' permission for '([^']{1,300})'/;

function permissionAdvice(text: string): string {
  const [, permission, resource] = permissionText.exec(text) ?? [];
  if (permission === undefined) return 'Grant the permission that the message names.';
  const user = `yourself (part of ${predefinedRoleOf(permission)})`;
  const role = roleOf(permission);
  const grantee = role
    ? `the service account of the function (part of role ${role} in infra/gcp) or, on the command line, to ${user}`
    : user;
  return `Grant ${permission} on ${resource} to ${grantee}.`;
}

/** Returns undefined if the resource does not exist. */
export async function undefinedIfNotFound<T>(pending: Promise<T>): Promise<T | undefined> {
  try {
    return await pending;
  } catch (thrown) {
    if (thrown instanceof PermanentError && thrown.code === 'not-found') return undefined;
    throw thrown;
  }
}
