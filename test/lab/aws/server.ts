import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import type { AddressInfo } from 'node:net';
import { answerEc2, ec2Error, readQuery } from './ec2';
import { answerSsm, type SsmContext } from './ssm';
import { AwsRefusal } from './state';

export interface Call {
  readonly action: string;
  readonly input: unknown;
}

/** Answers that a test asks for: the next `times` calls of an action are refused. */
export interface Fault {
  readonly action: string;
  readonly refusal: AwsRefusal;
  times: number;
}

export interface Served {
  readonly url: string;
  close(): Promise<void>;
}

/** Serves EC2 and SSM on one loopback port; the clients tell them apart as they do in the cloud. */
export async function serve(context: SsmContext, calls: Call[], faults: Fault[]): Promise<Served> {
  const server = createServer((request, response) => {
    void answer(request, context, calls, faults).then(({ status, type, body, requestId }) => {
      response.writeHead(status, { 'content-type': type, 'x-amzn-requestid': requestId });
      response.end(body);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
      await Promise.all(context.running);
    },
  };
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly requestId: string;
}

async function answer(
  request: IncomingMessage,
  context: SsmContext,
  calls: Call[],
  faults: Fault[],
): Promise<Answer> {
  const requestId = randomUUID();
  const isSsm = request.headers['content-type'] === 'application/x-amz-json-1.1';
  const type = isSsm ? 'application/x-amz-json-1.1' : 'text/xml;charset=UTF-8';
  try {
    const body = await text(request);
    refuseUnsigned(request, isSsm, context.state.region);
    const { action, fields } = isSsm ? readJson(request, body) : readQuery(body);
    calls.push({ action, input: fields });
    refuseByFault(action, faults);
    const answered = isSsm
      ? answerSsm(context, action, fields)
      : answerEc2(context.state, action, fields, requestId);
    return { status: 200, type, body: answered, requestId };
  } catch (error) {
    const refusal = error instanceof AwsRefusal ? error : new AwsRefusal('InternalError', String(error), 500);
    const body = isSsm
      ? JSON.stringify({ __type: refusal.code, message: refusal.message })
      : ec2Error(refusal, requestId);
    return { status: refusal.status, type, body, requestId };
  }
}

function readJson(request: IncomingMessage, body: string) {
  const [, action = ''] = /^AmazonSSM\.(\w+)$/.exec(String(request.headers['x-amz-target'])) ?? [];
  return { action, fields: JSON.parse(body) as Record<string, never> };
}

function refuseUnsigned({ headers, method }: IncomingMessage, isSsm: boolean, region: string): void {
  const service = isSsm ? 'ssm' : 'ec2';
  const scope = `AWS4-HMAC-SHA256 Credential=[^/]+/[0-9]{8}/${region}/${service}/aws4_request, SignedHeaders=`;
  if (method === 'POST' && new RegExp(`^${scope}`).test(headers.authorization ?? '')) return;
  throw isSsm
    ? new AwsRefusal('MissingAuthenticationTokenException', 'Missing Authentication Token')
    : new AwsRefusal('AuthFailure', 'AWS was not able to validate the provided access credentials', 401);
}

function refuseByFault(action: string, faults: Fault[]): void {
  const fault = faults.find((one) => one.action === action && one.times > 0);
  if (!fault) return;
  fault.times -= 1;
  throw fault.refusal;
}
