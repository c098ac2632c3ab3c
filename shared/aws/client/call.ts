import { PeermasqError, RetryableError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { makeApiCallCounter } from '../../core/util/api-calls';
import { isThrottle, toPeermasqError } from './errors';
import type { Action } from './permissions';

/**
 * The SDK makes three attempts per call; later retries go through the queue. Adaptive retry mode is not used: a
 * function makes too few calls to measure a rate, so a single throttled call would limit the client to one call every
 * two seconds (measured).
 */
export const clientSettings = {
  retryMode: 'standard',
  maxAttempts: 3,
  requestHandler: { connectionTimeout: 2_000, requestTimeout: 10_000, throwOnRequestTimeout: true },
} as const;

/** The timeout of one call. It is long enough for three attempts and the pauses between them. */
const callTimeoutMs = 60_000;

export interface CallOptions {
  readonly abortSignal: AbortSignal;
}

/**
 * Makes one call. Its timeout never extends past the deadline.
 * @throws PeermasqError with the SDK's error as its cause
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
    // The call's credentials provider has thrown an error with its own message.
    if (thrown instanceof PeermasqError) throw thrown;
    throw abortSignal.aborted ? timedOut(action, thrown) : toPeermasqError(action, thrown);
  }
}

function timedOut(action: Action, cause?: unknown): RetryableError {
  return new RetryableError('out-of-time', `${action} timed out`, {
    advice:
      'The functions retry automatically. If the timeouts persist, raise the timeout of the functions or lower the batch size.',
    retryAfterSeconds: 5,
    cause,
  });
}

/**
 * Counts the calls of the whole process. One counter is enough, because a function handles one invocation at a time.
 */
export const apiCalls = makeApiCallCounter();

type Next = (args: never) => Promise<unknown>;

/** The part of an SDK client that countCalls needs. */
interface Countable {
  readonly middlewareStack: {
    add(
      middleware: (next: Next) => Next,
      options: { step: 'finalizeRequest'; priority: 'low'; name: string },
    ): void;
  };
}

/** Counts every attempt of every call, because the SDK's retry middleware runs before this middleware. */
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
