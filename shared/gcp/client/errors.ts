import { setTimeout as pause } from 'node:timers/promises';
import { messageOf, PeermasqError, PermanentError, RetryableError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { findAccountError, loginAdvice } from './account-errors';
import { apiCalls } from './api-calls';
import { predefinedRoleOf, roleOf } from './permissions';

/** The client wraps what it is thrown while it calls. */
function findPeermasqError(thrown: unknown): PeermasqError | undefined {
  const all = [thrown, property(thrown, 'cause')];
  return all.find((error) => error instanceof PeermasqError);
}

interface ErrorDetails {
  /** The HTTP status; absent when no answer came. */
  readonly status?: number;
  /** `rateLimitExceeded`, `conditionNotMet`…: tells a 403 by quota from a 403 by permission. */
  readonly reason?: string;
  readonly isNetworkError: boolean;
}

/** gRPC codes, which the client gives where it has no HTTP status, as the statuses that they come from. */
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

/** Version 7 of the client gives a GoogleError (gRPC `code`, `httpStatusCode`), version 6 a GaxiosError. */
function errorDetails(thrown: unknown): ErrorDetails {
  const status = ['httpStatusCode', 'status', 'code']
    .map((name) => property(thrown, name))
    .filter((value) => typeof value === 'number')
    .map((value) => statusOfCode[value] ?? value)
    .find((value) => value >= 400 && value < 600);
  const reason = reasonOf(thrown);
  return {
    ...(status === undefined ? {} : { status }),
    ...(reason === undefined ? {} : { reason }),
    isNetworkError: isNetworkError(thrown),
  };
}

/** Nobody answered: gRPC's DEADLINE_EXCEEDED and UNAVAILABLE without an HTTP status, or a system error. */
function isNetworkError(thrown: unknown): boolean {
  const answered = property(thrown, 'httpStatusCode') ?? property(thrown, 'status');
  const code = property(thrown, 'code');
  if (typeof code === 'string') return /^(E[A-Z]+|EAI_AGAIN)$/.test(code);
  return typeof answered !== 'number' && (code === 4 || code === 14);
}

/** The client drops `errors[].reason` from its error and keeps it in the answer's text, under this symbol. */
const rawResponse = Symbol.for('google-gax.rawHttpResponsePayload');

function reasonOf(thrown: unknown): string | undefined {
  const raw = property(thrown, rawResponse) ?? property(property(thrown, 'response'), 'data');
  const error = property(typeof raw === 'string' ? tryParseJson(raw) : raw, 'error');
  const errors = property(error, 'errors') ?? property(thrown, 'errors');
  const reason =
    property(Array.isArray(errors) ? errors[0] : undefined, 'reason') ?? property(thrown, 'reason');
  return typeof reason === 'string' ? reason : undefined;
}

function tryParseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // A proxy's HTML page: the status alone decides.
  }
}

const quotaReasons = /^(rateLimitExceeded|userRateLimitExceeded|quotaExceeded|RATE_LIMIT_EXCEEDED)$/;
const permissionText = /Required '([A-Za-z0-9.]+)' permission for '([^']{1,300})'/;

/**
 * What a failed call means. Compute Engine answers an exhausted quota with 403, the status of a missing
 * permission; only the reason tells them apart.
 * @param what the call, as `cannot …` continues: `read instance 123`.
 */
export function toPeermasqError(what: string, thrown: unknown): PeermasqError {
  const own = findPeermasqError(thrown);
  if (own) return own;
  const { status, reason, isNetworkError } = errorDetails(thrown);
  const text = messageOf(thrown);
  const message = `Cannot ${what}: ${text}`;
  const retryable = (code: string, advice: string, seconds: number) =>
    new RetryableError(code, message, advice, seconds, thrown);
  const permanent = (code: string, advice: string) => new PermanentError(code, message, advice, thrown);

  const accountError = findAccountError(`${reason ?? ''} ${text}`);
  if (accountError)
    return new PermanentError(
      accountError.code,
      `Cannot ${what}: ${accountError.summary}`,
      accountError.advice,
      thrown,
    );
  if (isNetworkError)
    return retryable('unreachable', 'It is tried again; look at the network if it lasts.', 5);
  if (
    status === 429 ||
    (status === 403 && (quotaReasons.test(reason ?? '') || /rate limit|quota exceeded/i.test(text)))
  ) {
    apiCalls.countThrottle();
    return retryable('throttled', 'It is tried again; raise the Compute Engine quota if it lasts.', 30);
  }
  if (status === 412 && /\bconstraint/i.test(text)) {
    return permanent('policy', 'An organisation policy forbids it; ask who manages it.');
  }
  if (status === 412)
    return retryable('conflict', 'Somebody else wrote first; it is read and tried again.', 1);
  if (status === 409 || reason === 'resourceNotReady') {
    return retryable('not-ready', 'The resource is still being made; it is tried again.', 5);
  }
  if (status !== undefined && (status >= 500 || status === 408)) {
    return retryable('unavailable', 'Google Cloud has a fault; it is tried again.', 10);
  }
  if (status === 404) return permanent('not-found', 'It does not exist, or no longer.');
  if (status === 403) return permanent('permission-denied', permissionAdvice(text));
  // A 400, of all things: whoever changes a VM must be allowed to act as the service account that it runs as.
  if (/\b(SERVICE_ACCOUNT_ACCESS_DENIED|iam\.serviceAccountUser)\b/.test(text)) {
    return permanent(
      'permission-denied',
      "Grant iam.serviceAccounts.actAs on the node's service account to whoever calls: the service account of the function, or you.",
    );
  }
  if (status === 401) return permanent('no-credentials', loginAdvice);
  return permanent('refused', 'Google Cloud refuses this request, and will again: please report it.');
}

function permissionAdvice(text: string): string {
  const [, permission, resource] = permissionText.exec(text) ?? [];
  if (permission === undefined) return 'Do what the message says: a permission is missing.';
  const user = `yourself (${predefinedRoleOf(permission)} has it)`;
  const role = roleOf(permission);
  const grantee = role
    ? `the service account of the function (infra/gcp has it in its role ${role}) or, on the command line, to ${user}`
    : user;
  return `Grant ${permission} on ${resource} to ${grantee}.`;
}

const firstPauseMs = 200;
const maxPauseMs = 5_000;

/** Doubles from 200 ms to 5 s, with full jitter, so that those who collided do not collide again. */
const pauseMs = (attempt: number): number =>
  Math.random() * Math.min(maxPauseMs, firstPauseMs * 2 ** attempt);

/**
 * A cloud in trouble is not helped by every call being made five times. Retries draw on a budget of the process,
 * which calls that succeed fill up: 50 at the most, and one for every five that succeed, as gRPC's retry
 * throttling does it. Writers that were in each other's way are no trouble of the cloud.
 */
const budget = { retries: 50 };
const maxRetries = 50;
const retriesPerSuccess = 0.2;

function mayRetry({ code }: RetryableError): boolean {
  if (code === 'conflict' || code === 'not-ready') return true;
  if (budget.retries < 1) return false;
  budget.retries -= 1;
  return true;
}

/**
 * Tries until it works, fails for good, or there is no time, attempt or budget left. The official client retries
 * almost nothing: reads on 503, writes never.
 * @throws PermanentError | RetryableError
 */
export async function call<T>(
  what: string,
  deadline: Deadline,
  send: () => Promise<T>,
  attempts = 5,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      const result = await send();
      budget.retries = Math.min(maxRetries, budget.retries + retriesPerSuccess);
      return result;
    } catch (thrown) {
      // Ours already: decided on, or tried again often enough, further down.
      const own = findPeermasqError(thrown);
      if (own) throw own;
      const error = toPeermasqError(what, thrown);
      const wait = pauseMs(attempt);
      const isLastAttempt = attempt >= attempts || Date.now() + wait >= deadline;
      if (!(error instanceof RetryableError) || isLastAttempt || !mayRetry(error)) throw error;
      await pause(wait);
    }
  }
}

/** `undefined` in place of what does not exist. */
export async function undefinedIfNotFound<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (thrown) {
    if (thrown instanceof PermanentError && thrown.code === 'not-found') return undefined;
    throw thrown;
  }
}
