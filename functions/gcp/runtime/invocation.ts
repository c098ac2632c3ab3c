import { PermanentError } from '../../../shared/core/model/errors';
import type { Deadline } from '../../../shared/core/cloud';
import { apiCalls } from '../../../shared/gcp/client/call';
import { dependencies, settings } from './projects';

/** Returns the time at which an invocation that starts now must have finished. */
export const invocationDeadline = (): Deadline => Date.now() + settings.invocationMs;

/** Logs the number of API calls after each invocation. Concurrent invocations share one count. */
export function withCallCounts<Args extends unknown[], R>(
  handler: (...args: Args) => Promise<R>,
): (...args: Args) => Promise<R> {
  return async (...args) => {
    try {
      return await handler(...args);
    } finally {
      const { calls, throttles } = apiCalls.take();
      if (calls > 0) dependencies.log.info('ApiCallsCounted', { cloud: 'gcp', calls, throttles });
    }
  };
}

/**
 * Handles an event, and logs a permanent error instead of throwing it. Redelivering the event for 24 hours would not
 * fix it (a missing permission, for example). An alert reports it, and the first sweep after the fix
 * handles the nodes.
 * @returns undefined after a permanent error
 * @throws every other error, so that the event is redelivered
 */
export async function acknowledgePermanent<T>(handle: () => Promise<T>): Promise<T | undefined> {
  try {
    return await handle();
  } catch (error) {
    if (error instanceof PermanentError) return undefined;
    throw error;
  }
}
