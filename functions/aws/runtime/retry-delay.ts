/** Seconds beyond which the wait for the next look does not grow. */
const maxDelaySeconds = 60;

/**
 * Messages of a crowd come again later: a look at a thousand nodes costs some fifty calls, and those that come
 * again together are looked at together.
 */
const burstPerSecond = 12;

/**
 * When to look again: at first after the seconds asked for, then after twice as many each time.
 * @param asked seconds
 * @param attempt how often it was looked at, from 1
 * @param waiting how many messages come again with it
 * @returns whole seconds
 */
export function retryDelaySeconds(requestedSeconds: number, attempt: number, burstSize: number): number {
  const backoff = Math.max(
    requestedSeconds,
    Math.min(maxDelaySeconds, requestedSeconds * 2 ** Math.min(attempt - 1, 10)),
  );
  return Math.ceil(Math.max(1, backoff, Math.min(maxDelaySeconds, burstSize / burstPerSecond)));
}
