import type { IncomingHttpHeaders } from 'node:http';
import { answerAutoScaling } from './autoscaling';
import type { Identity, Lab } from './context';
import { answerEc2, ec2Error } from './ec2';
import { queryError, readQuery, type Fields } from './query';
import type { ServiceName } from './refusals';
import { answerSqs } from './sqs';
import { answerSsm } from './ssm';
import { answerSts } from './sts';
import type { AwsRefusal } from './state';

export interface Request {
  readonly action: string;
  readonly fields: Fields;
}

/** How one service is spoken to. */
export interface Service {
  readonly name: ServiceName;
  /** The content type of its answers. */
  readonly type: string;
  read(headers: IncomingHttpHeaders, body: string): Request;
  /** @throws AwsRefusal */
  answer(lab: Lab, caller: Identity, request: Request, requestId: string): string;
  refuse(refusal: AwsRefusal, requestId: string): string;
}

const query = {
  type: 'text/xml;charset=UTF-8',
  read: (_: IncomingHttpHeaders, body: string) => readQuery(body),
};

const json = (version: string, target: string) => ({
  type: `application/x-amz-json-${version}`,
  read(headers: IncomingHttpHeaders, body: string): Request {
    const [name, action = ''] = String(headers['x-amz-target']).split('.');
    return { action: name === target ? action : '', fields: JSON.parse(body) as Fields };
  },
});

const ec2: Service = {
  name: 'ec2',
  ...query,
  answer: (_, { account }, { action, fields }, requestId) =>
    answerEc2(account.state, action, fields, requestId),
  refuse: ec2Error,
};

const ssm: Service = {
  name: 'ssm',
  ...json('1.1', 'AmazonSSM'),
  answer: (_, { account }, { action, fields }) => answerSsm(account, action, fields),
  refuse: ({ code, message }) => JSON.stringify({ __type: code, message }),
};

const sqs: Service = {
  name: 'sqs',
  ...json('1.0', 'AmazonSQS'),
  answer: (_, { account }, { action, fields }) => answerSqs(account.state, action, fields),
  refuse: ({ code, message }) => JSON.stringify({ __type: `com.amazonaws.sqs#${code}`, message }),
};

const autoscaling: Service = {
  name: 'autoscaling',
  ...query,
  answer: (_, { account }, { action, fields }, requestId) =>
    answerAutoScaling(account.state, action, fields, requestId),
  refuse: queryError,
};

const sts: Service = {
  name: 'sts',
  ...query,
  answer: (lab, caller, { action, fields }, requestId) => answerSts(lab, caller, action, fields, requestId),
  refuse: queryError,
};

/** In the cloud each has a host of its own; here it is told by its protocol, and by the signature's scope. */
export function serviceFor(headers: IncomingHttpHeaders): Service {
  const byType = [ssm, sqs].find(({ type }) => type === headers['content-type']);
  const scope = /Credential=[^,]*\/([a-z0-9]+)\/aws4_request/.exec(headers.authorization ?? '')?.[1];
  return byType ?? [autoscaling, sts].find(({ name }) => name === scope) ?? ec2;
}
