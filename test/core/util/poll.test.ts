import { describe, expect, test } from '@jest/globals';
import { poll, type PollOptions } from '../../../shared/core/util/poll';

const options = (changes: Partial<PollOptions> = {}): PollOptions => ({
  firstPauseMs: 1,
  maxPauseMs: 4,
  deadline: Date.now() + 10_000,
  ...changes,
});

/** Returns a function that returns undefined for the first `misses` calls, and then the number of calls. */
function readyAfter(misses: number): () => Promise<number | undefined> {
  let calls = 0;
  return () => {
    calls += 1;
    return Promise.resolve(calls > misses ? calls : undefined);
  };
}

describe('poll', () => {
  test('returns the first value that an attempt returns', async () => {
    expect(await poll(readyAfter(2), options())).toBe(3);
  });

  test('pauses before each attempt, and each pause is longer than the last, up to a maximum', async () => {
    const times = [performance.now()];
    const attempt = () => {
      times.push(performance.now());
      return Promise.resolve(times.length > 4 ? true : undefined);
    };
    await poll(attempt, options({ firstPauseMs: 20, maxPauseMs: 60, factor: 2 }));
    const pauses = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    // Only the minimum is certain, because a busy machine makes each pause longer.
    for (const [index, minMs] of [20, 40, 60, 60].entries()) {
      expect(pauses[index]).toBeGreaterThanOrEqual(minMs - 2);
    }
  });

  test('makes no attempt after the deadline, and does not wait until the deadline', async () => {
    const start = Date.now();
    const late = options({ firstPauseMs: 60_000, maxPauseMs: 60_000, deadline: start + 50_000 });
    expect(await poll(readyAfter(0), late)).toBeUndefined();
    expect(Date.now() - start).toBeLessThan(10_000);
  });

  test('gives up when the next pause would end after the deadline', async () => {
    expect(await poll(readyAfter(Infinity), options({ deadline: Date.now() + 50 }))).toBeUndefined();
  });

  test('ends immediately when its signal aborts', async () => {
    const interrupt = new AbortController();
    const polling = poll(readyAfter(0), options({ firstPauseMs: 9_000, signal: interrupt.signal }));
    interrupt.abort();
    await expect(polling).rejects.toThrow('abort');
  });

  test('passes on an error that an attempt throws', async () => {
    const failure = new Error('denied');
    await expect(poll(() => Promise.reject(failure), options())).rejects.toBe(failure);
  });
});
