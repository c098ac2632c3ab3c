import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { asksOf } from './asks';
import type { Context, Fault, Identity, Lab } from './context';
import { isAllowed } from './policy';
import { denial, expired, throttled, unknownKey, unsigned, type ServiceName } from './refusals';
import { serviceFor, type Request, type Service } from './services';
import { AwsRefusal } from './state';

export interface Served {
  readonly url: string;
  close(): Promise<void>;
}

/** Serves all accounts on one loopback port. */
export async function serve(lab: Lab): Promise<Served> {
  const server = createServer((request, response) => {
    void answer(request, lab).then(({ status, type, body, requestId }) => {
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
    },
  };
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly requestId: string;
}

async function answer(message: IncomingMessage, lab: Lab): Promise<Answer> {
  const requestId = randomUUID();
  const service = serviceFor(message.headers);
  const { type } = service;
  try {
    const body = await text(message);
    const caller = identify(message, service.name, lab);
    const request = service.read(message.headers, body);
    refuseByTest(caller.account, service, request, lab);
    refuseByRole(caller, service, request);
    return { status: 200, type, body: service.answer(lab, caller, request, requestId), requestId };
  } catch (error) {
    const refusal = error instanceof AwsRefusal ? error : new AwsRefusal('InternalError', String(error), 500);
    return { status: refusal.status, type, body: service.refuse(refusal, requestId), requestId };
  }
}

/** Whose the access key is. The signature itself is not computed again. */
function identify({ headers, method }: IncomingMessage, service: ServiceName, lab: Lab): Identity {
  const scope = `/[0-9]{8}/${lab.region}/${service}/aws4_request, SignedHeaders=`;
  const signed = new RegExp(`^AWS4-HMAC-SHA256 Credential=([^/]+)${scope}`);
  const [, accessKeyId] = signed.exec(headers.authorization ?? '') ?? [];
  if (method !== 'POST' || accessKeyId === undefined) throw unsigned(service);
  const identity = lab.identities.get(accessKeyId);
  if (!identity || identity.sessionToken !== headers['x-amz-security-token']) throw unknownKey(service);
  if (identity.expiresAt !== undefined && identity.expiresAt <= Date.now()) throw expired(service);
  return identity;
}

/** Counts the call; refuses it when the buckets are empty or a test wants it so. */
function refuseByTest(
  { calls, faults, buckets }: Context,
  { name }: Service,
  { action, fields }: Request,
  { isLimited }: Lab,
): void {
  calls.push({ action, input: fields });
  if (isLimited && !buckets.take(name, action)) throw throttled(name);
  const fault = faults.find((one: Fault) => one.action === action && one.times > 0);
  if (!fault) return;
  fault.times -= 1;
  throw fault.refusal;
}

/** Denies what no policy of the caller's role allows. */
function refuseByRole({ account: { state }, role }: Identity, { name }: Service, request: Request): void {
  if (!role) return;
  const missing = asksOf(name, request, state).find((ask) => !isAllowed(role.grants, ask));
  if (!missing) return;
  const resource = missing.resource === '*' ? undefined : missing.resource;
  throw denial(missing.action, state.account, resource, role.roleName);
}
