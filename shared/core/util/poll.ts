import { setTimeout as sleep } from 'node:timers/promises';

export interface PollOptions {
  readonly firstPauseMs: number;
  readonly maxPauseMs: number;
  /** The factor by which each pause exceeds the previous one. */
  readonly factor?: number;
  /** Milliseconds since the epoch. */
  readonly deadline: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Calls `attempt` until it returns a value. The pause before each call grows.
 * @returns undefined as soon as the next pause would exceed the deadline
 */
export async function poll<T>(
  attempt: () => Promise<T | undefined>,
  { firstPauseMs, maxPauseMs, factor = 1.5, deadline, signal }: PollOptions,
): Promise<T | undefined> {
  let pauseMs = firstPauseMs;
  while (Date.now() + pauseMs < deadline) {
    await sleep(pauseMs, undefined, { signal });
    const result = await attempt();
    if (result !== undefined) return result;
    pauseMs = Math.min(pauseMs * factor, maxPauseMs);
  }
  return undefined;
}
