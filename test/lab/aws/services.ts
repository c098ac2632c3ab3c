import type { IncomingHttpHeaders } from 'node:http';
import { handleAutoScaling } from './autoscaling';
import type { CallerIdentity, ServerState } from './server-state';
import { handleEc2, ec2Error } from './ec2';
import { queryError, readQuery, type Fields } from './query-protocol';
import type { ServiceName } from './errors';
import { handleSqs } from './sqs';
import { handleSsm } from './ssm';
import { handleSts } from './sts';
import type { AwsApiError } from './api-error';

export interface ServiceRequest {
  readonly action: string;
  readonly fields: Fields;
}

/** A service and its protocol. */
export interface Service {
  readonly name: ServiceName;
  /** The content type of the service's responses. */
  readonly type: string;
  read(headers: IncomingHttpHeaders, body: string): ServiceRequest;
  /** @throws AwsRefusal */
  handle(lab: ServerState, caller: CallerIdentity, request: ServiceRequest, requestId: string): string;
  formatApiError(apiError: AwsApiError, requestId: string): string;
}

const query = {
  type: 'text/xml;charset=UTF-8',
  read: (_: IncomingHttpHeaders, body: string) => readQuery(body),
};

const json = (version: string, target: string) => ({
  type: `application/x-amz-json-${version}`,
  read(headers: IncomingHttpHeaders, body: string): ServiceRequest {
    const [name, action = ''] = String(headers['x-amz-target']).split('.');
    return { action: name === target ? action : '', fields: JSON.parse(body) as Fields };
  },
});

const ec2: Service = {
  name: 'ec2',
  ...query,
  handle: (_, { account }, { action, fields }, requestId) =>
    handleEc2(account.state, action, fields, requestId),
  formatApiError: ec2Error,
};

const ssm: Service = {
  name: 'ssm',
  ...json('1.1', 'AmazonSSM'),
  handle: (_, { account }, { action, fields }) => handleSsm(account, action, fields),
  formatApiError: ({ code, message }) => JSON.stringify({ __type: code, message }),
};

const sqs: Service = {
  name: 'sqs',
  ...json('1.0', 'AmazonSQS'),
  handle: (_, { account }, { action, fields }) => handleSqs(account.state, action, fields),
  formatApiError: ({ code, message }) => JSON.stringify({ __type: `com.amazonaws.sqs#${code}`, message }),
};

const autoscaling: Service = {
  name: 'autoscaling',
  ...query,
  handle: (_, { account }, { action, fields }, requestId) =>
    handleAutoScaling(account.state, action, fields, requestId),
  formatApiError: queryError,
};

const sts: Service = {
  name: 'sts',
  ...query,
  handle: (lab, caller, { action, fields }, requestId) => handleSts(lab, caller, action, fields, requestId),
  formatApiError: queryError,
};

/**
 * Returns the service to which a request is addressed. AWS has a host name for each service. The lab has only one, so
 * it identifies the service by the protocol and by the scope of the signature.
 */
export function serviceFor(headers: IncomingHttpHeaders): Service {
  const byType = [ssm, sqs].find(({ type }) => type === headers['content-type']);
  const scope = /Credential=[^,]*\/([a-z0-9]+)\/aws4_request/.exec(headers.authorization ?? '')?.[1];
  return byType ?? [autoscaling, sts].find(({ name }) => name === scope) ?? ec2;
}
