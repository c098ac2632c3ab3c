import { ApiError, checkParams, checkQuery } from './compute-input';
import { firewallMethods } from './compute-firewalls';
import { failAs, quotaExceeded, Reset, Silence } from './compute-faults';
import { instanceMethods } from './compute-instances';
import type { Call, Method } from './compute-method';
import { networkMethods } from './compute-networks';
import { makeOperations } from './compute-operations';
import { serve, type Address, type Server } from './server';
import type { GoogleCloud } from './state';

interface Request {
  readonly verb: string | undefined;
  readonly target: string;
  readonly authorization: string | undefined;
  readonly text: string;
}

/** The Compute Engine API v1 over HTTP: the methods that peermasq calls, and refusals for all else. */
export async function startComputeApi(cloud: GoogleCloud, address?: Address): Promise<Server> {
  const operations = makeOperations(cloud);
  const methods = [
    ...instanceMethods(cloud, operations),
    ...networkMethods(cloud),
    ...firewallMethods(cloud),
    ...operations.methods,
  ];
  return serve(async ({ method: verb, url: target = '', headers, socket }, text, response) => {
    response.setHeader('content-type', 'application/json; charset=UTF-8');
    try {
      const request = { verb, target, authorization: headers.authorization, text };
      response.end(JSON.stringify(await answer(cloud, methods, request)));
    } catch (thrown) {
      if (thrown instanceof Reset) socket.destroy();
      else if (thrown instanceof ApiError) response.writeHead(thrown.status).end(JSON.stringify(thrown));
      else if (!(thrown instanceof Silence)) throw thrown;
    }
  }, address);
}

function answer(cloud: GoogleCloud, methods: readonly Method[], request: Request): unknown {
  const { verb, target, authorization, text } = request;
  const { pathname, searchParams: query } = new URL(target, 'http://localhost');
  const { method, params } = find(methods, verb, pathname);
  cloud.calls.push(method.name);
  if (authorization !== `Bearer ${cloud.token}`) {
    throw new ApiError(401, 'required', 'Request is missing required authentication credential.');
  }
  checkParams(params);
  checkQuery(query, method.query);
  const exceeded = cloud.quota?.take(method.name, params);
  if (exceeded) throw quotaExceeded(exceeded, cloud.projects[params['project'] ?? '']?.number);
  const fault = cloud.faults.find(
    (one) =>
      one.method === method.name &&
      (one.project ?? params['project']) === params['project'] &&
      one.times-- > 0,
  );
  if (fault) failAs(fault.kind, method, pathname);
  return method.handle({ params, query, body: text === '' ? undefined : JSON.parse(text) });
}

function find(methods: readonly Method[], verb: string | undefined, pathname: string) {
  for (const method of methods) {
    const pattern = method.path.replaceAll(/\{(\w+)\}/g, '(?<$1>[^/]+)');
    const match = new RegExp(`^/compute/v1/${pattern}$`).exec(pathname);
    if (!match || method.verb !== verb) continue;
    const params = Object.entries(match.groups ?? {}).map(([key, value]) => [key, decodeURIComponent(value)]);
    return { method, params: Object.fromEntries(params) as Call['params'] };
  }
  throw new ApiError(400, 'badRequest', `The lab has no method ${verb} ${pathname}`);
}
