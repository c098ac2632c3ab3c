import { setTimeout as sleep } from 'node:timers/promises';

export interface PollOptions {
  readonly firstPauseMs: number;
  readonly maxPauseMs: number;
  /** How much longer each pause is than the last. */
  readonly factor?: number;
  /** Milliseconds since the epoch. */
  readonly deadline: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Calls `attempt`, with a growing pause before each call, until it returns a value.
 * @returns undefined as soon as the next pause would end after the deadline
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
