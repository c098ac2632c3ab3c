import { PeermasqError, RetryableError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { makeApiCallCounter } from '../../core/util/api-calls';
import { isThrottle, toPeermasqError } from './errors';
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
  return new RetryableError('out-of-time', `${action} timed out`, {
    advice: 'The functions retry it. If it persists, raise their timeout or lower the batch size.',
    retryAfterSeconds: 5,
    cause,
  });
}

/** For the whole process: a function handles one invocation at a time. */
export const apiCalls = makeApiCallCounter();

type Next = (args: never) => Promise<unknown>;

/** The part of an SDK client that is used here. */
interface Countable {
  readonly middlewareStack: {
    add(
      middleware: (next: Next) => Next,
      options: { step: 'finalizeRequest'; priority: 'low'; name: string },
    ): void;
  };
}

/** Counts every attempt: the retries of the SDK come before this middleware in the same step. */
export function countCalls<Client>(client: Client): Client {
  (client as Countable).middlewareStack.add(
    (next) => async (args) => {
      apiCalls.countCall();
      try {
        return await next(args);
      } catch (error) {
        if (isThrottle(error)) apiCalls.countThrottle();
        throw error;
      }
    },
    { step: 'finalizeRequest', priority: 'low', name: 'peermasqCountsCalls' },
  );
  return client;
}
