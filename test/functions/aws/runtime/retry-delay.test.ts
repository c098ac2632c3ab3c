import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { retryDelaySeconds } from '../../../../functions/aws/runtime/retry-delay';

describe('the delay before a retry', () => {
  test('doubles with each attempt, up to a minute', () => {
    const delays = [1, 2, 3, 4, 5, 6, 60].map((attempt) =>
      retryDelaySeconds({ requestedSeconds: 5, attempt, burstSize: 1 }),
    );
    expect(delays).toEqual([5, 10, 20, 40, 60, 60, 60]);
  });

  test.each([
    [12, 5],
    [60, 5],
    [120, 10],
    [480, 40],
    [1_000, 60],
  ])('in a burst of %i messages is %i s', (burstSize, seconds) => {
    expect(retryDelaySeconds({ requestedSeconds: 5, attempt: 1, burstSize })).toBe(seconds);
  });

  test('is longer than a minute only when a longer delay is requested', () => {
    expect(retryDelaySeconds({ requestedSeconds: 90, attempt: 1, burstSize: 500 })).toBe(90);
  });

  test('is a whole number of seconds: at least one, and at least the requested delay', () => {
    const numbers = [fc.double({ min: 0, max: 900, noNaN: true }), fc.nat(), fc.nat()] as const;
    fc.assert(
      fc.property(...numbers, (requestedSeconds, attempt, burstSize) => {
        const seconds = retryDelaySeconds({ requestedSeconds, attempt, burstSize });
        expect(Number.isInteger(seconds)).toBe(true);
        expect(seconds).toBeGreaterThanOrEqual(Math.max(1, requestedSeconds));
        expect(seconds).toBeLessThanOrEqual(Math.max(60, Math.ceil(requestedSeconds)));
      }),
    );
  });
});
