/** A rate limit: the maximum burst of calls, and the sustained number of calls per second. */
interface BucketLimit {
  readonly size: number;
  readonly perSecond: number;
}

/**
 * The limits that EC2 publishes (EC2 API reference, request throttling). SSM publishes none, so the same values are
 * assumed for SSM, except for SendCommand.
 */
const limits = {
  reading: { size: 100, perSecond: 20 },
  writing: { size: 50, perSecond: 5 },
  sending: { size: 5, perSecond: 5 },
} as const satisfies Record<string, BucketLimit>;

const limitedServices = new Set(['ec2', 'ssm']);

function limitOf(action: string): keyof typeof limits {
  if (action === 'SendCommand') return 'sending';
  return /^(Describe|List|Get)/.test(action) ? 'reading' : 'writing';
}

/** The token buckets for one account in one region. */
export interface RateLimits {
  /** The number of calls that were throttled. */
  readonly callsOverLimit: number;
  /**
   * Takes a token from a bucket.
   * @returns false if the bucket was empty
   */
  take(service: string, action: string): boolean;
}

/** @param now returns the time in milliseconds */
export function makeRateLimits(now: () => number = () => performance.now()): RateLimits {
  const levels = new Map<string, { tokens: number; at: number }>();
  let callsOverLimit = 0;
  return {
    get callsOverLimit() {
      return callsOverLimit;
    },
    take(service, action) {
      if (!limitedServices.has(service)) return true;
      const limit = limitOf(action);
      const { size, perSecond } = limits[limit];
      const at = now();
      const level = levels.get(`${service} ${limit}`) ?? { tokens: size, at };
      const tokens = Math.min(size, level.tokens + ((at - level.at) / 1_000) * perSecond);
      const isTaken = tokens >= 1;
      levels.set(`${service} ${limit}`, { tokens: isTaken ? tokens - 1 : tokens, at });
      if (!isTaken) callsOverLimit += 1;
      return isTaken;
    },
  };
}
