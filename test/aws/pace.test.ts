import { expect, test } from '@jest/globals';
import { takeTurns } from '../../shared/aws/pace';

const late = Number.MAX_SAFE_INTEGER;

async function timesOf(turns: number, deadline = late): Promise<number[]> {
  const turn = takeTurns(2, 50);
  const start = performance.now();
  const times: number[] = [];
  for (let i = 0; i < turns; i += 1) {
    await turn(deadline);
    times.push(performance.now() - start);
  }
  return times;
}

test('some go at once, the others one after the other', async () => {
  const [, second = 0, third = 0, fourth = 0] = await timesOf(4);
  expect(second).toBeLessThan(40);
  expect(third).toBeGreaterThanOrEqual(49);
  expect(fourth).toBeGreaterThanOrEqual(99);
});

test('nobody waits beyond the deadline', async () => {
  const times = await timesOf(6, Date.now() + 60);
  expect(times.at(-1)).toBeLessThan(150);
});
