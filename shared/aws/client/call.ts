import { PeermasqError, RetryableError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { toPeermasqError } from './errors';
import type { Action } from './permissions';

/**
 * Three attempts; later retries go through the queue. The adaptive mode would limit a client to one call every two
 * seconds after a single throttled one (measured), because a function makes too few calls to measure a rate.
 */
export const clientSettings = {
  retryMode: 'standard',
  maxAttempts: 3,
  requestHandler: { connectionTimeout: 2_000, requestTimeout: 10_000, throwOnRequestTimeout: true },
} as const;

/** Longer than three attempts with their pauses. */
const callTimeoutMs = 60_000;

export interface CallOptions {
  readonly abortSignal: AbortSignal;
}

/**
 * Makes one call that ends at the deadline or earlier.
 * @throws PeermasqError with the error of the SDK as its cause
 */
export async function call<T>(
  action: Action,
  deadline: Deadline,
  send: (options: CallOptions) => Promise<T>,
): Promise<T> {
  const remainingMs = deadline - Date.now();
  if (remainingMs <= 0) throw timedOut(action);
  const abortSignal = AbortSignal.timeout(Math.min(remainingMs, callTimeoutMs));
  try {
    return await send({ abortSignal });
  } catch (thrown) {
    // From the credentials provider of the call, which has a message of its own.
    if (thrown instanceof PeermasqError) throw thrown;
    throw abortSignal.aborted ? timedOut(action, thrown) : toPeermasqError(action, thrown);
  }
}

function timedOut(action: Action, cause?: unknown): RetryableError {
  return new RetryableError(
    'out-of-time',
    `${action} timed out`,
    'The functions retry it. If it persists, give them more time or smaller batches.',
    5,
    cause,
  );
}
