import { describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { RetryableError } from '../../../shared/core/model/errors';
import { listAll } from '../../../shared/gcp/client/call';
import { connectionReset } from './client-errors';

const timedOut = {
  constructor: RetryableError,
  code: 'out-of-time',
  message: 'Cannot list the routes: timed out',
};

/**
 * Lists numbers.
 * @param list returns the client's iterable, for each attempt
 */
const listNumbers = (list: () => AsyncIterable<number>, waitMs = 5_000) =>
  listAll({
    action: 'list the routes',
    deadline: Date.now() + waitMs,
    list: () => Promise.resolve(list()),
    toItems: (number) => (number === 0 ? [] : [number, -number]),
  });

async function* numbers(...values: number[]) {
  for (const value of values) yield await Promise.resolve(value);
}

describe('listAll', () => {
  test('returns the items of all entries in order', async () => {
    expect(await listNumbers(() => numbers(1, 0, 2))).toEqual([1, -1, 2, -2]);
  });

  test('starts again when a page fails, and returns each item only once', async () => {
    let attempts = 0;
    const list = async function* () {
      attempts += 1;
      yield* numbers(1);
      if (attempts === 1) throw connectionReset;
      yield* numbers(2);
    };
    expect(await listNumbers(list)).toEqual([1, -1, 2, -2]);
    expect(attempts).toBe(2);
  });

  test('ends at the deadline when pages repeat', async () => {
    const list = async function* () {
      for (;;) {
        yield* numbers(1, 2);
        await sleep(10);
      }
    };
    await expect(listNumbers(list, 100)).rejects.toMatchObject(timedOut);
  });

  test('ends at the deadline when pages repeat without a pause', async () => {
    const list = async function* () {
      for (;;) yield* numbers(0);
    };
    await expect(listNumbers(list, 100)).rejects.toMatchObject(timedOut);
  });

  test('ends at the deadline while a page hangs', async () => {
    const hung = new AbortController();
    const list = async function* () {
      yield* numbers(1);
      await sleep(60_000, undefined, { signal: hung.signal }).catch(() => undefined);
    };
    await expect(listNumbers(list, 100)).rejects.toMatchObject(timedOut);
    hung.abort();
  });
});
