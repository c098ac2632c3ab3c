import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { iamRequestsOf } from './iam-requests';
import type { AccountContext, InjectedError, CallerIdentity, ServerState } from './server-state';
import { isAllowed } from './iam-policies';
import {
  accessDenied,
  expiredTokenError,
  throttlingError,
  invalidTokenError,
  missingTokenError,
  type ServiceName,
} from './errors';
import { serviceFor, type ServiceRequest, type Service } from './services';
import { AwsApiError } from './api-error';

export interface ServerHandle {
  readonly url: string;
  close(): Promise<void>;
}

/** Serves all accounts on a single loopback port. */
export async function startServer(lab: ServerState): Promise<ServerHandle> {
  const server = createServer((request, response) => {
    void handle(request, lab).then(({ status, type, body, requestId }) => {
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

interface HttpResponse {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly requestId: string;
}

async function handle(message: IncomingMessage, lab: ServerState): Promise<HttpResponse> {
  const requestId = randomUUID();
  const service = serviceFor(message.headers);
  const { type } = service;
  try {
    const body = await text(message);
    const caller = authenticate(message, service.name, lab);
    const request = service.read(message.headers, body);
    applyLimitsAndInjectedErrors(caller.account, service, request, lab);
    authorize(caller, service, request);
    return { status: 200, type, body: service.handle(lab, caller, request, requestId), requestId };
  } catch (error) {
    const apiError =
      error instanceof AwsApiError ? error : new AwsApiError('InternalError', String(error), 500);
    return { status: apiError.status, type, body: service.formatApiError(apiError, requestId), requestId };
  }
}

/** Finds the identity to which the access key belongs. The signature itself is not verified. */
function authenticate(
  { headers, method }: IncomingMessage,
  service: ServiceName,
  lab: ServerState,
): CallerIdentity {
  const scope = `/[0-9]{8}/${lab.region}/${service}/aws4_request, SignedHeaders=`;
  const signed = new RegExp(`^AWS4-HMAC-SHA256 Credential=([^/]+)${scope}`);
  const [, accessKeyId] = signed.exec(headers.authorization ?? '') ?? [];
  if (method !== 'POST' || accessKeyId === undefined) throw missingTokenError(service);
  const identity = lab.identities.get(accessKeyId);
  if (!identity || identity.sessionToken !== headers['x-amz-security-token'])
    throw invalidTokenError(service);
  if (identity.expiresAt !== undefined && identity.expiresAt <= Date.now()) throw expiredTokenError(service);
  return identity;
}

/** Counts the call, and rejects it if a token bucket is empty or a test injected an error. */
function applyLimitsAndInjectedErrors(
  { calls, injectedErrors, rateLimits }: AccountContext,
  { name }: Service,
  { action, fields }: ServiceRequest,
  { isRateLimited }: ServerState,
): void {
  calls.push({ action, input: fields });
  if (isRateLimited && !rateLimits.take(name, action)) throw throttlingError(name);
  const injectedError = injectedErrors.find((one: InjectedError) => one.action === action && one.times > 0);
  if (!injectedError) return;
  injectedError.times -= 1;
  throw injectedError.apiError;
}

/** Denies a call that no policy of the caller's role allows. */
function authorize(
  { account: { state }, role }: CallerIdentity,
  { name }: Service,
  request: ServiceRequest,
): void {
  if (!role) return;
  const denied = iamRequestsOf(name, request, state).find(
    (iamRequest) => !isAllowed(role.grants, iamRequest),
  );
  if (!denied) return;
  const resource = denied.resource === '*' ? undefined : denied.resource;
  throw accessDenied(denied.action, state.account, resource, role.roleName);
}
