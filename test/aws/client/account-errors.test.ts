import { afterEach, describe, expect, test } from '@jest/globals';
import { toPeermasqError } from '../../../shared/aws/client/errors';
import { RetryableError } from '../../../shared/core/model/errors';

const environment = { ...process.env };
afterEach(() => {
  process.env = environment;
});

const toError = (thrown: Error) => toPeermasqError('ec2:DescribeVpcs', thrown);
const named = (name: string, message: string, more: object = {}) =>
  Object.assign(new Error(message), { name, ...more });
const serviceError = (name: string, message = 'x') =>
  named(name, message, { $metadata: { httpStatusCode: 400 } });

const renewAdvice =
  'Log in again with `aws sso login --profile prod`, or renew the keys with `aws configure`.';
const loginAdvice = 'Log in with `aws sso login --profile prod`, or set keys with `aws configure`.';
const rejectedAdvice =
  'AWS rejects these keys in this region. Set other keys with `aws configure`, or select a region that is enabled for the account with `export AWS_REGION=REGION`.';

interface Expected {
  readonly code: string;
  readonly isRetryable: boolean;
  readonly advice: string;
}
const expiredSession = { code: 'expired-credentials', isRetryable: true, advice: renewAdvice };
const expiredLogin = { code: 'expired-credentials', isRetryable: false, advice: renewAdvice };
const missing = { code: 'no-credentials', isRetryable: false, advice: loginAdvice };
const rejected = { code: 'no-credentials', isRetryable: false, advice: rejectedAdvice };

describe("an error that concerns the user's account or credentials", () => {
  test.each<[string, Error, Expected]>([
    ['an expired session, from STS', serviceError('ExpiredToken'), expiredSession],
    ['an expired session, from SSM', serviceError('ExpiredTokenException'), expiredSession],
    ['an expired session, from EC2', serviceError('RequestExpired'), expiredSession],
    [
      'an expired login',
      named('CredentialsProviderError', 'The SSO session associated with this profile has expired.'),
      expiredLogin,
    ],
    [
      'no credentials',
      named('CredentialsProviderError', 'Could not load credentials from any providers'),
      missing,
    ],
    ['a request without credentials', serviceError('MissingAuthenticationToken'), missing],
    ['unknown keys', serviceError('UnrecognizedClientException'), rejected],
    ['keys that are unknown to STS', serviceError('InvalidClientTokenId'), rejected],
    [
      'keys that are unknown to EC2',
      serviceError('AuthFailure', 'AWS was not able to validate the provided access credentials'),
      rejected,
    ],
    [
      'no region',
      new Error('Region is missing'),
      {
        code: 'no-region',
        isRetryable: false,
        advice: 'Set a region: `export AWS_REGION=REGION`.',
      },
    ],
  ])('names the command that fixes it: %s', (_, thrown, { code, isRetryable, advice }) => {
    process.env = { ...environment, AWS_PROFILE: 'prod' };
    const error = toError(thrown);
    expect(error).toMatchObject({ code, advice, cause: thrown });
    expect(error instanceof RetryableError).toBe(isRetryable);
  });

  test('does not print a profile name that is unsafe in a shell', () => {
    process.env = { ...environment, AWS_PROFILE: '$(reboot)' };
    expect(toError(serviceError('ExpiredToken')).advice).toContain('aws sso login --profile PROFILE`');
  });

  test('is not confused with a denied call to a resource of another account', () => {
    const error = toError(serviceError('AuthFailure', 'Not authorized for images: [ami-0a]'));
    expect(error).toMatchObject({ code: 'access-denied' });
  });
});
