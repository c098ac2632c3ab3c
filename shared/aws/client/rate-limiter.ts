import { setTimeout as sleep } from 'node:timers/promises';
import type { Deadline } from '../../core/cloud';
import { makeRateLimiter } from '../../core/util/rate-limiter';

/** Resolves when it is the caller's turn, at the deadline at the latest. */
export type RateLimitedWait = (deadline: Deadline) => Promise<void>;

/** @returns waits for a turn among those of `takeTurns` */
export function limitRate(burst: number, intervalMs: number): RateLimitedWait {
  const limiter = makeRateLimiter(burst, intervalMs);
  return async (deadline) => {
    const now = Date.now();
    const wait = Math.min(limiter(now) ?? 0, deadline - now);
    if (wait > 0) await sleep(wait);
  };
}
