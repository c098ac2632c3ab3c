import { setTimeout as sleep } from 'node:timers/promises';
import type { Deadline } from '../core/ports';

/** Resolves when it is the caller's turn, at the deadline at the latest. */
export type Turn = (deadline: Deadline) => Promise<void>;

/** A token bucket, waited at instead of overdrawn: `atOnce` turns at once, then one in each `everyMs`. */
export function takeTurns(atOnce: number, everyMs: number): Turn {
  let free = 0;
  return async (deadline) => {
    const now = Date.now();
    free = Math.max(free + everyMs, now - (atOnce - 1) * everyMs);
    const wait = Math.min(free, deadline) - now;
    if (wait > 0) await sleep(wait);
  };
}
