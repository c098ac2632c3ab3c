import { GcpApiError, checkParams, checkQuery } from './compute-input';
import { firewallMethods } from './compute-firewalls';
import { throwInjectedError, quotaExceeded, ConnectionReset, NoResponse } from './errors';
import { instanceMethods } from './compute-instances';
import type { MethodCall, Method } from './compute-method';
import { networkMethods } from './compute-networks';
import { makeOperations } from './compute-operations';
import { startHttpServer, type ListenAddress, type ServerHandle } from '../http-server';
import type { GcpState } from './state';

interface HttpRequest {
  readonly verb: string | undefined;
  readonly target: string;
  readonly authorization: string | undefined;
  readonly text: string;
}

/**
 * Serves the Compute Engine API v1 over HTTP. Only the methods that peermasq calls are implemented; every other call
 * is rejected.
 */
export async function startComputeApi(cloud: GcpState, address?: ListenAddress): Promise<ServerHandle> {
  const operations = makeOperations(cloud);
  const methods = [
    ...instanceMethods(cloud, operations),
    ...networkMethods(cloud),
    ...firewallMethods(cloud),
    ...operations.methods,
  ];
  return startHttpServer(async ({ method: verb, url: target = '', headers, socket }, text, response) => {
    response.setHeader('content-type', 'application/json; charset=UTF-8');
    try {
      const request = { verb, target, authorization: headers.authorization, text };
      response.end(JSON.stringify(await dispatch(cloud, methods, request)));
    } catch (thrown) {
      if (thrown instanceof ConnectionReset) socket.destroy();
      else if (thrown instanceof GcpApiError) response.writeHead(thrown.status).end(JSON.stringify(thrown));
      else if (!(thrown instanceof NoResponse)) throw thrown;
    }
  }, address);
}

function dispatch(cloud: GcpState, methods: readonly Method[], request: HttpRequest): unknown {
  const { verb, target, authorization, text } = request;
  const { pathname, searchParams: query } = new URL(target, 'http://localhost');
  const { method, params } = find(methods, verb, pathname);
  cloud.calls.push(method.name);
  if (authorization !== `Bearer ${cloud.token}`) {
    throw new GcpApiError(401, 'required', 'Request is missing required authentication credential.');
  }
  checkParams(params);
  checkQuery(query, method.query);
  const exceeded = cloud.rateLimits?.take(method.name, params);
  if (exceeded) throw quotaExceeded(exceeded, cloud.projects[params['project'] ?? '']?.number);
  const injectedError = cloud.injectedErrors.find(
    (one) =>
      one.method === method.name &&
      (one.project ?? params['project']) === params['project'] &&
      one.times-- > 0,
  );
  if (injectedError) throwInjectedError(injectedError.kind, method, pathname);
  return method.handle({ params, query, body: text === '' ? undefined : JSON.parse(text) });
}

function find(methods: readonly Method[], verb: string | undefined, pathname: string) {
  for (const method of methods) {
    const pattern = method.path.replaceAll(/\{(\w+)\}/g, '(?<$1>[^/]+)');
    const match = new RegExp(`^/compute/v1/${pattern}$`).exec(pathname);
    if (!match || method.verb !== verb) continue;
    const params = Object.entries(match.groups ?? {}).map(([key, value]) => [key, decodeURIComponent(value)]);
    return { method, params: Object.fromEntries(params) as MethodCall['params'] };
  }
  throw new GcpApiError(400, 'badRequest', `The lab has no method ${verb} ${pathname}`);
}
