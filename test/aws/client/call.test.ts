import { afterEach, describe, expect, test } from '@jest/globals';
import { call } from '../../../shared/aws/client/call';
import { PermanentError, RetryableError } from '../../../shared/core/model/errors';
import { soon } from '../cloud';

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
    ['a bad setting', new Error('Unsupported protocol')],
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

describe('credentials', () => {
  const before = { ...process.env };
  afterEach(() => {
    process.env = before;
  });

  const serviceError = (name: string, message = 'x') =>
    named(name, { message, $metadata: { httpStatusCode: 400 } });
  const renewAdvice =
    'Log in again with `aws sso login --profile prod`, or renew the keys with `aws configure`.';
  const loginAdvice = 'Log in with `aws sso login --profile prod`, or set keys with `aws configure`.';
  const unknown =
    'AWS does not know these keys in this region: set others with `aws configure`, or a region that the account has enabled with `export AWS_REGION=REGION`.';

  test.each<[string, Error, string, boolean, string]>([
    ['of a session that is over', serviceError('ExpiredToken'), 'expired-credentials', true, renewAdvice],
    [
      'of a session that is over, SSM',
      serviceError('ExpiredTokenException'),
      'expired-credentials',
      true,
      renewAdvice,
    ],
    [
      'of a session that is over, EC2',
      serviceError('RequestExpired'),
      'expired-credentials',
      true,
      renewAdvice,
    ],
    [
      'of a login that is over',
      named('CredentialsProviderError', {
        message: 'The SSO session associated with this profile has expired.',
      }),
      'expired-credentials',
      false,
      renewAdvice,
    ],
    [
      'that are not there',
      named('CredentialsProviderError', { message: 'Could not load credentials from any providers' }),
      'no-credentials',
      false,
      loginAdvice,
    ],
    ['that nobody sent', serviceError('MissingAuthenticationToken'), 'no-credentials', false, loginAdvice],
    ['of nobody', serviceError('UnrecognizedClientException'), 'no-credentials', false, unknown],
    ['of nobody, STS', serviceError('InvalidClientTokenId'), 'no-credentials', false, unknown],
    [
      'of nobody, EC2',
      serviceError('AuthFailure', 'AWS was not able to validate the provided access credentials'),
      'no-credentials',
      false,
      unknown,
    ],
    [
      'without a region',
      new Error('Region is missing'),
      'no-region',
      false,
      'Say which region: `export AWS_REGION=REGION`.',
    ],
  ])('%s', async (_, thrown, code, isRetryable, advice) => {
    process.env = { ...before, AWS_PROFILE: 'prod' };
    const error = await failing(thrown);
    expect(error).toMatchObject({ code, advice, cause: thrown });
    expect(error instanceof RetryableError).toBe(isRetryable);
  });

  test('a profile that a shell would read otherwise is not printed', async () => {
    process.env = { ...before, AWS_PROFILE: '$(reboot)' };
    const error = await failing(serviceError('ExpiredToken'));
    expect((error as RetryableError).advice).toContain('aws sso login --profile PROFILE`');
  });

  test('a resource of another account is no fault of them', async () => {
    const error = await failing(serviceError('AuthFailure', 'Not authorized for images: [ami-0a]'));
    expect(error).toMatchObject({ code: 'access-denied' });
  });
});

test('a denial of what only people ask names their statement', async () => {
  const thrown = named('UnauthorizedOperation', { $metadata: { httpStatusCode: 403 } });
  const denied = call('ec2:DescribeSubnets', soon(), () => Promise.reject(thrown));
  await expect(denied).rejects.toMatchObject({
    code: 'access-denied',
    advice:
      'Allow ec2:DescribeSubnets on * in the policy of whoever runs the command: the statement DiagnoseConnections is there for that (docs/aws.md, Permissions).',
  });
});
