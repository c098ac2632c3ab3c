import { describe, expect, test } from '@jest/globals';
import { limitRate } from '../../../shared/aws/client/clients';

const farFuture = Number.MAX_SAFE_INTEGER;

/** Milliseconds after which each wait ended. Only the minimum is certain: a busy machine makes each wait longer. */
async function timesOf(count: number, intervalMs: number, deadline = farFuture): Promise<number[]> {
  const wait = limitRate(2, intervalMs);
  const start = performance.now();
  const times: number[] = [];
  for (let i = 0; i < count; i += 1) {
    await wait(deadline);
    times.push(performance.now() - start);
  }
  return times;
}

describe('a rate-limited wait', () => {
  test('is over at once within the burst', async () => {
    const [, second] = await timesOf(2, 8_000);
    expect(second).toBeLessThan(4_000);
  });

  test('is over one interval after the last beyond the burst', async () => {
    const [, , third, fourth] = await timesOf(4, 50);
    expect(third).toBeGreaterThanOrEqual(45);
    expect(fourth).toBeGreaterThanOrEqual(90);
  });

  test('is over at the deadline', async () => {
    const times = await timesOf(6, 8_000, Date.now() + 60);
    expect(times.at(-1)).toBeLessThan(4_000);
  });
});
