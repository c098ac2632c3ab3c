/** Counts the API calls of the process. Each attempt is counted, because each attempt consumes quota. */
export interface ApiCallCounter {
  countCall(): void;
  countThrottle(): void;
  /** Returns the counts since the last time `take` was called. */
  take(): { readonly calls: number; readonly throttles: number };
}

export function makeApiCallCounter(): ApiCallCounter {
  let counts = { calls: 0, throttles: 0 };
  return {
    countCall: () => {
      counts.calls += 1;
    },
    countThrottle: () => {
      counts.throttles += 1;
    },
    take: () => {
      const taken = counts;
      counts = { calls: 0, throttles: 0 };
      return taken;
    },
  };
}

/** Returns how many milliseconds to wait before a call at time `now`, or undefined if the wait would be too long. */
export type RateLimiter = (now: number) => number | undefined;

/**
 * Creates a token bucket that allows `burst` calls immediately, then one call per interval. A call that has to wait
 * reserves its time slot.
 * @param maxWaitMs calls that would have to wait longer are rejected
 */
export function makeRateLimiter(burst: number, intervalMs: number, maxWaitMs = Infinity): RateLimiter {
  let lastTime = 0;
  return (now) => {
    const time = Math.max(lastTime + intervalMs, now - (burst - 1) * intervalMs);
    if (time - now > maxWaitMs) return undefined;
    lastTime = time;
    return Math.max(0, time - now);
  };
}
