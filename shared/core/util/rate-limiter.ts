/** How many milliseconds to wait for one's turn, told at `now`; undefined, and no turn, where it is too long. */
export type RateLimiter = (now: number) => number | undefined;

/**
 * A token bucket, waited at instead of overdrawn: `atOnce` turns at once, then one in each `everyMs`.
 * @param maxWaitMs whoever had to wait for longer has no turn
 */
export function makeRateLimiter(burst: number, intervalMs: number, maxWaitMs = Infinity): RateLimiter {
  let nextFree = 0;
  return (now) => {
    const next = Math.max(nextFree + intervalMs, now - (burst - 1) * intervalMs);
    if (next - now > maxWaitMs) return undefined;
    nextFree = next;
    return Math.max(0, nextFree - now);
  };
}
