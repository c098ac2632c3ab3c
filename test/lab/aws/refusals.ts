import { AwsRefusal } from './state';

/** In the credential scope of a signature, and before the colon of an action. */
export type ServiceName = 'ec2' | 'ssm' | 'sqs' | 'autoscaling' | 'sts';

export function serviceOf(action: string): ServiceName {
  if (/Command|InstanceInformation/.test(action)) return 'ssm';
  if (action.includes('Message')) return 'sqs';
  if (action.includes('Lifecycle')) return 'autoscaling';
  return action === 'AssumeRole' ? 'sts' : 'ec2';
}

/** How a service says that there were too many calls. */
export function throttled(service: ServiceName): AwsRefusal {
  switch (service) {
    case 'ec2':
      return new AwsRefusal('RequestLimitExceeded', 'Request limit exceeded.', 503);
    case 'ssm':
      return new AwsRefusal('ThrottlingException', 'Rate exceeded');
    case 'sqs':
      return new AwsRefusal('RequestThrottled', 'Rate exceeded');
    case 'autoscaling':
    case 'sts':
      return new AwsRefusal('Throttling', 'Rate exceeded');
  }
}

/** What IAM says. https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html */
export function denial(action: string, account: string, resource?: string, role = 'peermasq'): AwsRefusal {
  const caller = `arn:aws:sts::${account}:assumed-role/${role}/session`;
  const on = resource === undefined ? '' : ` on resource: ${resource}`;
  const why = `is not authorized to perform: ${action}${on} because no identity-based policy allows the ${action} action`;
  const message = `User: ${caller} ${why}`;
  switch (action.split(':')[0]) {
    case 'ec2':
      return new AwsRefusal(
        'UnauthorizedOperation',
        `You are not authorized to perform this operation. ${message}`,
        403,
      );
    case 'ssm':
    case 'sqs':
      return new AwsRefusal('AccessDeniedException', message);
    default:
      return new AwsRefusal('AccessDenied', message, 403);
  }
}

/** How a service says that a request has no signature, or that of another service or region. */
export function unsigned(service: ServiceName): AwsRefusal {
  switch (service) {
    case 'ec2':
      return new AwsRefusal(
        'AuthFailure',
        'AWS was not able to validate the provided access credentials',
        401,
      );
    case 'ssm':
      return new AwsRefusal('MissingAuthenticationTokenException', 'Missing Authentication Token');
    default:
      return new AwsRefusal('MissingAuthenticationToken', 'Missing Authentication Token', 403);
  }
}

/** How a service says that it does not know an access key, or not with this session token. */
export function unknownKey(service: ServiceName): AwsRefusal {
  const message = 'The security token included in the request is invalid.';
  switch (service) {
    case 'ec2':
      return unsigned(service);
    case 'ssm':
      return new AwsRefusal('UnrecognizedClientException', message);
    default:
      return new AwsRefusal('InvalidClientTokenId', message, 403);
  }
}

/** How a service says that a session is over. */
export function expired(service: ServiceName): AwsRefusal {
  if (service === 'ec2') return new AwsRefusal('RequestExpired', 'Request has expired.');
  const message = 'The security token included in the request is expired';
  return service === 'ssm'
    ? new AwsRefusal('ExpiredTokenException', message)
    : new AwsRefusal('ExpiredToken', message, 403);
}
/** The code of what refused a call; `nothing` when it went through. */
export function refusalOf(sending: Promise<unknown>): Promise<string> {
  return sending.then(
    () => 'nothing',
    (error: unknown) => (error instanceof Error ? error.name : String(error)),
  );
}
