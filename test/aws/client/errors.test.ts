import { describe, expect, test } from '@jest/globals';
import { toPeermasqError } from '../../../shared/aws/client/errors';
import { PermanentError, RetryableError } from '../../../shared/core/model/errors';

const sdkError = (name: string, more: object = {}) => Object.assign(new Error('x'), { name, ...more });
const toError = (thrown: Error) => toPeermasqError('ec2:DescribeVpcs', thrown);

describe('an error without a response', () => {
  test.each<[string, Error]>([
    ['a timeout', sdkError('TimeoutError')],
    ['an abort', sdkError('AbortError', { code: 20 })],
    ['a connection reset', sdkError('Error', { code: 'ECONNRESET' })],
    [
      'a connection that every address refused',
      Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' }),
    ],
    ['an unknown host name', sdkError('Error', { code: 'ENOTFOUND', $metadata: { attempts: 3 } })],
    ['a temporary DNS failure', sdkError('Error', { code: 'EAI_AGAIN' })],
    ['a broken pipe', sdkError('Error', { code: 'EPIPE' })],
    ['an unreachable host', sdkError('Error', { code: 'EHOSTUNREACH' })],
  ])('is retryable when the network caused it: %s', (_, thrown) => {
    expect(toError(thrown)).toBeInstanceOf(RetryableError);
    expect(toError(thrown)).toMatchObject({ code: 'unavailable', cause: thrown });
  });

  test.each<[string, Error]>([
    ['a bug', new TypeError("Cannot read properties of undefined (reading 'x')")],
    ['an expired certificate', sdkError('Error', { code: 'CERT_HAS_EXPIRED' })],
    ['an invalid setting', new Error('Unsupported protocol')],
  ])('is permanent when the network did not cause it: %s', (_, thrown) => {
    expect(toError(thrown)).toBeInstanceOf(PermanentError);
    expect(toError(thrown)).toMatchObject({ code: 'unexpected', cause: thrown });
  });
});

test.each([
  [500, 'retryable'],
  [503, 'retryable'],
  [400, 'permanent'],
  [413, 'permanent'],
])('a response with status %i is %s', (httpStatusCode, kind) => {
  const error = toError(sdkError('SomeError', { $metadata: { httpStatusCode } }));
  expect(error instanceof RetryableError).toBe(kind === 'retryable');
});

describe('the error for a denied call', () => {
  const denied = sdkError('UnauthorizedOperation', { $metadata: { httpStatusCode: 403 } });

  test("names the statement in the function's policy that allows the call", () => {
    expect(toError(denied)).toMatchObject({
      code: 'access-denied',
      message: 'ec2:DescribeVpcs on * was denied: x',
      advice:
        'Allow ec2:DescribeVpcs on * in the policy of the role that made the call, with the statement DiscoverRoutes (docs/aws.md, Permissions).',
    });
  });

  test("names the statement in the operators' policy when the command line made the call", () => {
    expect(toPeermasqError('ec2:DescribeSubnets', denied)).toMatchObject({
      code: 'access-denied',
      advice:
        'Allow ec2:DescribeSubnets on * in your own policy, with the statement DiagnoseConnections (docs/cli.md, Permissions).',
    });
  });
});
