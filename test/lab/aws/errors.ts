import { AwsApiError } from './api-error';

/** The name of a service, as it appears in the credential scope of a signature and before the colon of an action. */
export type ServiceName = 'ec2' | 'ssm' | 'sqs' | 'autoscaling' | 'sts';

export function serviceOf(action: string): ServiceName {
  if (/Command|InstanceInformation/.test(action)) return 'ssm';
  if (action.includes('Message')) return 'sqs';
  if (action.includes('Lifecycle')) return 'autoscaling';
  return action === 'AssumeRole' ? 'sts' : 'ec2';
}

/** Returns a service's throttling error. */
export function throttlingError(service: ServiceName): AwsApiError {
  switch (service) {
    case 'ec2':
      return new AwsApiError('RequestLimitExceeded', 'Request limit exceeded.', 503);
    case 'ssm':
      return new AwsApiError('ThrottlingException', 'Rate exceeded');
    case 'sqs':
      return new AwsApiError('RequestThrottled', 'Rate exceeded');
    case 'autoscaling':
    case 'sts':
      return new AwsApiError('Throttling', 'Rate exceeded');
  }
}

/**
 * Returns IAM's error for a denied call.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
 */
export function accessDenied(
  action: string,
  account: string,
  resource?: string,
  role = 'peermasq',
): AwsApiError {
  const caller = `arn:aws:sts::${account}:assumed-role/${role}/session`;
  const on = resource === undefined ? '' : ` on resource: ${resource}`;
  const why = `is not authorized to perform: ${action}${on} because no identity-based policy allows the ${action} action`;
  const message = `User: ${caller} ${why}`;
  switch (action.split(':')[0]) {
    case 'ec2':
      return new AwsApiError(
        'UnauthorizedOperation',
        `You are not authorized to perform this operation. ${message}`,
        403,
      );
    case 'ssm':
    case 'sqs':
      return new AwsApiError('AccessDeniedException', message);
    default:
      return new AwsApiError('AccessDenied', message, 403);
  }
}

/**
 * Returns a service's error for a request without a signature, or with a signature for a different service or region.
 */
export function missingTokenError(service: ServiceName): AwsApiError {
  switch (service) {
    case 'ec2':
      return new AwsApiError(
        'AuthFailure',
        'AWS was not able to validate the provided access credentials',
        401,
      );
    case 'ssm':
      return new AwsApiError('MissingAuthenticationTokenException', 'Missing Authentication Token');
    default:
      return new AwsApiError('MissingAuthenticationToken', 'Missing Authentication Token', 403);
  }
}

/** Returns a service's error for an unknown access key, or a wrong session token. */
export function invalidTokenError(service: ServiceName): AwsApiError {
  const message = 'The security token included in the request is invalid.';
  switch (service) {
    case 'ec2':
      return missingTokenError(service);
    case 'ssm':
      return new AwsApiError('UnrecognizedClientException', message);
    default:
      return new AwsApiError('InvalidClientTokenId', message, 403);
  }
}

/** Returns a service's error for an expired session. */
export function expiredTokenError(service: ServiceName): AwsApiError {
  if (service === 'ec2') return new AwsApiError('RequestExpired', 'Request has expired.');
  const message = 'The security token included in the request is expired';
  return service === 'ssm'
    ? new AwsApiError('ExpiredTokenException', message)
    : new AwsApiError('ExpiredToken', message, 403);
}
/** Returns the error code of a rejected call, or `nothing` if the call succeeded. */
export function errorCodeOf(sending: Promise<unknown>): Promise<string> {
  return sending.then(
    () => 'nothing',
    (error: unknown) => (error instanceof Error ? error.name : String(error)),
  );
}
