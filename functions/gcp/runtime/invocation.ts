import { PermanentError } from '../../../shared/core/model/errors';
import { apiCalls } from '../../../shared/gcp/client/api-calls';
import { dependencies } from './dependencies';

/** Tells after each invocation how many calls it took; those of invocations at the same time count together. */
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
 * What stays broken, a missing permission say, is acknowledged: it is in the log, an alert tells of it, and once
 * it is mended the next sweep serves the nodes. The same event again for 24 hours would mend nothing.
 * @returns undefined for such a fault
 * @throws RetryableError for everything else that goes wrong, so that the event comes again
 */
export async function acknowledgePermanent<T>(handle: () => Promise<T>): Promise<T | undefined> {
  try {
    return await handle();
  } catch (error) {
    if (error instanceof PermanentError) return undefined;
    throw error;
  }
}
