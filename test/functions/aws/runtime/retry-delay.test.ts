import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { retryDelaySeconds } from '../../../../functions/aws/runtime/retry-delay';

test('one node is looked at again after seconds, then after twice as many, at most a minute', () => {
  const waits = [1, 2, 3, 4, 5, 6, 60].map((attempt) => retryDelaySeconds(5, attempt, 1));
  expect(waits).toEqual([5, 10, 20, 40, 60, 60, 60]);
});

test.each([
  [12, 5],
  [60, 5],
  [120, 10],
  [480, 40],
  [1_000, 60],
])('a crowd of %i comes again together after %i s', (burstSize, seconds) => {
  expect(retryDelaySeconds(5, 1, burstSize)).toBe(seconds);
});

test('whoever asks for more than a minute gets it', () => {
  expect(retryDelaySeconds(90, 1, 500)).toBe(90);
});

test('whatever is asked, it is whole seconds, as many as asked and at least one', () => {
  const numbers = [fc.double({ min: 0, max: 900, noNaN: true }), fc.nat(), fc.nat()] as const;
  fc.assert(
    fc.property(...numbers, (requestedSeconds, attempt, burstSize) => {
      const seconds = retryDelaySeconds(requestedSeconds, attempt, burstSize);
      expect(Number.isInteger(seconds)).toBe(true);
      expect(seconds).toBeGreaterThanOrEqual(Math.max(1, requestedSeconds));
      expect(seconds).toBeLessThanOrEqual(Math.max(60, Math.ceil(requestedSeconds)));
    }),
  );
});
