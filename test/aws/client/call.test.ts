import { describe, expect, test } from '@jest/globals';
import { call } from '../../../shared/aws/client/call';
import { PermanentError, RetryableError } from '../../../shared/core/model/errors';

const never = (signal: AbortSignal) =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      reject(new Error('aborted'));
    });
  });

describe('an AWS call', () => {
  test('is aborted at the deadline', async () => {
    const pending = call('ec2:DescribeVpcs', Date.now() + 50, ({ abortSignal }) => never(abortSignal));
    await expect(pending).rejects.toBeInstanceOf(RetryableError);
    await expect(pending).rejects.toMatchObject({
      code: 'out-of-time',
      message: 'ec2:DescribeVpcs timed out',
    });
  });

  test('is not made after the deadline', async () => {
    let calls = 0;
    const late = call('ec2:DescribeVpcs', Date.now() - 1, () => Promise.resolve((calls += 1)));
    await expect(late).rejects.toMatchObject({ code: 'out-of-time' });
    expect(calls).toBe(0);
  });

  test('passes on an error from the credentials provider unchanged', async () => {
    const error = new PermanentError('no-credentials', 'STS returned no keys', { advice: '' });
    await expect(call('ec2:DescribeVpcs', Date.now() + 1_000, () => Promise.reject(error))).rejects.toBe(
      error,
    );
  });
});
