import { describe, expect, test } from '@jest/globals';
import { PermanentError, RetryableError } from '../../../shared/core/model/errors';
import { call, callWithAttempts } from '../../../shared/gcp/client/call';
import { connectionReset, googleError } from './client-errors';

const inSeconds = (seconds: number) => Date.now() + seconds * 1_000;

/** Returns a call that fails the first `times` times. After that, it returns how many times it was sent. */
function rejectTimes(times: number, error: Error) {
  let sent = 0;
  const send = () => {
    sent += 1;
    return sent > times ? Promise.resolve(sent) : Promise.reject(error);
  };
  return { send, sent: () => sent };
}

describe('a Google Cloud API call', () => {
  test('is retried until it succeeds', async () => {
    expect(await call('try', inSeconds(10), rejectTimes(2, connectionReset).send)).toBe(3);
  });

  test('fails after its last attempt', async () => {
    const { send, sent } = rejectTimes(Infinity, connectionReset);
    const pending = callWithAttempts({ action: 'try', deadline: inSeconds(10), attempts: 3 }, send);
    await expect(pending).rejects.toMatchObject({ code: 'unreachable' });
    expect(sent()).toBe(3);
  });

  test('is attempted only once if its deadline has passed', async () => {
    const { send, sent } = rejectTimes(Infinity, connectionReset);
    await expect(call('try', inSeconds(-1), send)).rejects.toBeInstanceOf(RetryableError);
    expect(sent()).toBe(1);
  });

  test('is not retried after a permanent error', async () => {
    const { send, sent } = rejectTimes(Infinity, googleError(5, { status: 404, reason: 'notFound' }));
    await expect(call('try', inSeconds(10), send)).rejects.toBeInstanceOf(PermanentError);
    expect(sent()).toBe(1);
  });

  test('times out before its deadline, and after at most 30 seconds', async () => {
    const timeoutFor = (deadline: number) => call('try', deadline, ({ timeout }) => Promise.resolve(timeout));
    expect(await timeoutFor(inSeconds(100))).toBe(30_000);
    expect(await timeoutFor(inSeconds(1))).toBeLessThanOrEqual(1_000);
  });
});
