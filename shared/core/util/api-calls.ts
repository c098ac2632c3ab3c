/** Counts the API calls of the process. Every attempt counts, because every attempt uses quota. */
export interface ApiCallCounter {
  countCall(): void;
  countThrottle(): void;
  /** The counts since the last `take`. */
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

/** Returns how many milliseconds to wait before a call at `now`; undefined when the wait would be too long. */
export type RateLimiter = (now: number) => number | undefined;

/**
 * A token bucket: `burst` calls at once, then one in each interval. Calls that have to wait reserve their time.
 * @param maxWaitMs a call that would have to wait longer is rejected
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
