import { setTimeout as sleep } from 'node:timers/promises';
import type { Deadline } from '../core/ports';
import { takeTurns } from '../core/turns';

/** Resolves when it is the caller's turn, at the deadline at the latest. */
export type Turn = (deadline: Deadline) => Promise<void>;

/** @returns waits for a turn among those of `takeTurns` */
export function pace(atOnce: number, everyMs: number): Turn {
  const turns = takeTurns(atOnce, everyMs);
  return async (deadline) => {
    const now = Date.now();
    const wait = Math.min(turns(now) ?? 0, deadline - now);
    if (wait > 0) await sleep(wait);
  };
}
