import { describe, expect, test } from '@jest/globals';
import { call } from '../../shared/aws/call';
import { PermanentError, RetryableError } from '../../shared/core/errors';
import { soon } from './cloud';

const failing = (thrown: Error) =>
  call('ec2:DescribeVpcs', soon(), () => Promise.reject(thrown)).catch((error: unknown) => error);
const named = (name: string, more: object = {}) => Object.assign(new Error('x'), { name, ...more });

describe('a call that got no answer', () => {
  test.each<[string, Error]>([
    ['a timeout', named('TimeoutError')],
    ['an abort', named('AbortError', { code: 20 })],
    ['a reset', named('Error', { code: 'ECONNRESET' })],
    ['a refusal by each address', Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' })],
    ['no name', named('Error', { code: 'ENOTFOUND', $metadata: { attempts: 3 } })],
    ['no name for now', named('Error', { code: 'EAI_AGAIN' })],
    ['a broken pipe', named('Error', { code: 'EPIPE' })],
    ['no route', named('Error', { code: 'EHOSTUNREACH' })],
  ])('for the network: %s: is tried again', async (_, thrown) => {
    const error = await failing(thrown);
    expect(error).toBeInstanceOf(RetryableError);
    expect(error).toMatchObject({ code: 'unavailable', cause: thrown });
  });

  test.each<[string, Error]>([
    ['a fault of ours', new TypeError("Cannot read properties of undefined (reading 'x')")],
    ['a bad certificate', named('Error', { code: 'CERT_HAS_EXPIRED' })],
    ['a bad setting', new Error('Region is missing')],
  ])('for another reason: %s: is permanent', async (_, thrown) => {
    const error = await failing(thrown);
    expect(error).toBeInstanceOf(PermanentError);
    expect(error).toMatchObject({ code: 'unexpected', cause: thrown });
  });
});

test.each([
  [500, true],
  [503, true],
  [400, false],
  [413, false],
])('an answer with status %i: trying again helps: %s', async (httpStatusCode, isRetryable) => {
  const error = await failing(named('SomeError', { $metadata: { httpStatusCode } }));
  expect(error instanceof RetryableError).toBe(isRetryable);
});
