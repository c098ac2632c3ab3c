import { createHash, randomInt } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { serve, type Address, type Server } from './server';
import {
  ApiError,
  checkParams,
  checkQuery,
  checkRequestId,
  invalid,
  notFound,
  readMetadata,
} from './compute-input';
import { fingerprintOf, networkResource, pathOf, subnetworkResource, vmResource } from './compute-resources';
import { url, type FaultKind, type GoogleCloud, type Network, type Vm } from './state';

interface Call {
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly body: unknown;
}

interface Method {
  readonly name: string;
  readonly verb: 'GET' | 'POST';
  /** `{name}` stands for one segment. */
  readonly path: string;
  readonly query: readonly string[];
  /** The resource that a permission is missing for. */
  handle(call: Call): unknown;
}

const listQuery = ['maxResults', 'pageToken', 'filter', 'orderBy', 'returnPartialSuccess'];
interface Operation {
  readonly name: string;
  readonly project: string;
  readonly zone: string;
  readonly targetId: string;
  readonly ends: number;
}

/** The Compute Engine API v1 over HTTP: the methods that peermasq calls, and refusals for all else. */
export async function startComputeApi(cloud: GoogleCloud, address?: Address): Promise<Server> {
  const operations = new Map<string, Operation>();

  function inProject(project: string): void {
    if (!cloud.projects[project]) throw notFound(`projects/${project}`);
  }

  function vmOf({ project = '', zone = '', instance = '' }: Call['params']): Vm {
    inProject(project);
    const vm = cloud.vms.find(
      (one) => one.project === project && one.zone === zone && (one.id === instance || one.name === instance),
    );
    if (!vm) throw notFound(`projects/${project}/zones/${zone}/instances/${instance}`);
    return vm;
  }

  function networkOf({ project = '', network = '' }: Call['params']): Network {
    inProject(project);
    const found = cloud.networks.find((one) => one.project === project && one.name === network);
    if (!found) throw notFound(`projects/${project}/global/networks/${network}`);
    return found;
  }

  function setMetadata({ params, query, body }: Call): unknown {
    const vm = vmOf(params);
    checkRequestId(query.get('requestId'));
    const { items, fingerprint } = readMetadata(body);
    if (!vm.isReady) {
      throw new ApiError(400, 'resourceNotReady', `The resource '${pathOf(vm)}' is not ready`);
    }
    if (fingerprint !== fingerprintOf(vm.metadata)) {
      throw new ApiError(
        412,
        'conditionNotMet',
        'Supplied fingerprint does not match current metadata fingerprint.',
      );
    }
    vm.metadata = items;
    cloud.changes.emit('change');
    return startOperation(vm);
  }

  function startOperation({ project, zone, id }: Vm): unknown {
    const name = `operation-${Date.now()}-${randomInt(2 ** 40).toString(16)}`;
    const operation = { name, project, zone, targetId: id, ends: Date.now() + cloud.operationMs };
    operations.set(name, operation);
    return operationResource(operation);
  }

  function operationResource({ name, project, zone, targetId, ends }: Operation): unknown {
    const isDone = Date.now() >= ends;
    return {
      kind: 'compute#operation',
      id: String(BigInt(`0x${createHash('sha256').update(name).digest('hex').slice(0, 15)}`)),
      name,
      zone: url(`projects/${project}/zones/${zone}`),
      operationType: 'setMetadata',
      targetId,
      status: isDone ? 'DONE' : 'RUNNING',
      progress: isDone ? 100 : 0,
      ...(isDone && cloud.operationError
        ? {
            error: { errors: [cloud.operationError] },
            httpErrorStatusCode: 400,
            httpErrorMessage: 'BAD REQUEST',
          }
        : {}),
    };
  }

  async function waitForOperation({ params }: Call): Promise<unknown> {
    const { project = '', zone = '', operation: name = '' } = params;
    inProject(project);
    const operation = operations.get(name);
    if (operation?.project !== project || operation.zone !== zone) {
      throw notFound(`projects/${project}/zones/${zone}/operations/${name}`);
    }
    // The real one gives up waiting after two minutes and answers with the state as it is.
    await pause(Math.min(Math.max(0, operation.ends - Date.now()), 120_000));
    return operationResource(operation);
  }

  function guestAttributes({ params, query }: Call): unknown {
    const vm = vmOf(params);
    const queryPath = query.get('queryPath') ?? '';
    if (cloud.projects[vm.project]?.isGuestAttributesPolicyOn) {
      const constraint = 'constraints/compute.disableGuestAttributesAccess';
      throw new ApiError(
        412,
        'conditionNotMet',
        `Constraint ${constraint} violated for project ${vm.project}.`,
      );
    }
    const items = Object.entries(vm.guestAttributes)
      .filter(([path]) => path === queryPath || (queryPath.endsWith('/') && path.startsWith(queryPath)))
      .map(([path, value]) => {
        const [namespace, key] = path.split('/');
        return { namespace, key, value };
      });
    if (items.length === 0) {
      throw new ApiError(
        404,
        'notFound',
        `The resource '${queryPath}' of type 'Guest Attribute' was not found.`,
      );
    }
    return { kind: 'compute#guestAttributes', queryPath, queryValue: { items } };
  }

  function page<T>(
    all: readonly T[],
    query: URLSearchParams,
  ): { part: readonly T[]; nextPageToken?: string } {
    const wanted = Number(query.get('maxResults') ?? 500);
    if (!(wanted >= 0 && wanted <= 500)) throw invalid(`Invalid value for field 'maxResults': '${wanted}'.`);
    const token = query.get('pageToken') ?? '';
    const start = token === '' ? 0 : Number(/^page-([0-9]+)$/.exec(token)?.[1] ?? Number.NaN);
    if (Number.isNaN(start)) throw invalid(`Invalid value for field 'pageToken': '${token}'.`);
    const end = start + Math.min(wanted || 500, cloud.pageSize);
    return { part: all.slice(start, end), ...(end < all.length ? { nextPageToken: `page-${end}` } : {}) };
  }

  /** Every scope is named, on every page; one without resources carries a warning instead. */
  function aggregated<T extends { readonly project: string }>(
    { params, query }: Call,
    all: readonly T[],
    kind: string,
    scopeOf: (resource: T) => string,
    show: (resource: T) => unknown,
  ): unknown {
    const { project = '' } = params;
    inProject(project);
    const own = all.filter((resource) => resource.project === project);
    const { part, ...next } = page(own, query);
    const scopes = [...new Set(own.map(scopeOf))].map((scope) => {
      const resources = part.filter((resource) => scopeOf(resource) === scope).map(show);
      const warning = {
        code: 'NO_RESULTS_ON_PAGE',
        message: `There are no results for scope '${scope}' on this page.`,
      };
      return [scope, resources.length > 0 ? { [kind]: resources } : { warning }];
    });
    return { items: Object.fromEntries(scopes) as unknown, ...next };
  }

  function peeringRoutes({ params, query }: Call): unknown {
    const network = networkOf(params);
    const [name = '', region = '', direction] = ['peeringName', 'region', 'direction'].map(
      (key) => query.get(key) ?? '',
    );
    if (direction !== 'INCOMING') throw invalid(`Invalid value for field 'direction': '${direction}'.`);
    const peering = network.peerings.find((one) => one.name === name);
    if (!peering)
      throw invalid(`Invalid value for field 'peeringName': '${name}'. There is no such peering.`);
    const routes = peering.state === 'ACTIVE' ? (network.routes[`${name}/${region}`] ?? []) : [];
    const { part, ...next } = page(routes, query);
    return { kind: 'compute#exchangedPeeringRoutesList', items: part, ...next };
  }

  const methods: Method[] = [
    {
      name: 'compute.instances.get',
      verb: 'GET',
      path: 'projects/{project}/zones/{zone}/instances/{instance}',
      query: [],
      handle: ({ params }) => vmResource(vmOf(params)),
    },
    {
      name: 'compute.instances.aggregatedList',
      verb: 'GET',
      path: 'projects/{project}/aggregated/instances',
      query: [...listQuery, 'includeAllScopes', 'serviceProjectNumber'],
      handle: (call) => aggregated(call, cloud.vms, 'instances', ({ zone }) => `zones/${zone}`, vmResource),
    },
    {
      name: 'compute.instances.setMetadata',
      verb: 'POST',
      path: 'projects/{project}/zones/{zone}/instances/{instance}/setMetadata',
      query: ['requestId'],
      handle: setMetadata,
    },
    {
      name: 'compute.instances.getGuestAttributes',
      verb: 'GET',
      path: 'projects/{project}/zones/{zone}/instances/{instance}/getGuestAttributes',
      query: ['queryPath', 'variableKey'],
      handle: guestAttributes,
    },
    {
      name: 'compute.zoneOperations.wait',
      verb: 'POST',
      path: 'projects/{project}/zones/{zone}/operations/{operation}/wait',
      query: [],
      handle: waitForOperation,
    },
    {
      name: 'compute.networks.get',
      verb: 'GET',
      path: 'projects/{project}/global/networks/{network}',
      query: [],
      handle: ({ params }) => networkResource(networkOf(params)),
    },
    {
      name: 'compute.networks.listPeeringRoutes',
      verb: 'GET',
      path: 'projects/{project}/global/networks/{network}/listPeeringRoutes',
      query: [...listQuery, 'peeringName', 'region', 'direction'],
      handle: peeringRoutes,
    },
    {
      name: 'compute.subnetworks.aggregatedList',
      verb: 'GET',
      path: 'projects/{project}/aggregated/subnetworks',
      query: [...listQuery, 'includeAllScopes', 'serviceProjectNumber'],
      handle: (call) =>
        aggregated(
          call,
          cloud.subnetworks,
          'subnetworks',
          ({ region }) => `regions/${region}`,
          subnetworkResource,
        ),
    },
  ];

  function find(verb: string | undefined, pathname: string): { method: Method; params: Call['params'] } {
    for (const method of methods) {
      const pattern = method.path.replaceAll(/\{(\w+)\}/g, '(?<$1>[^/]+)');
      const match = new RegExp(`^/compute/v1/${pattern}$`).exec(pathname);
      if (!match || method.verb !== verb) continue;
      const params = Object.entries(match.groups ?? {}).map(([key, value]) => [
        key,
        decodeURIComponent(value),
      ]);
      return { method, params: Object.fromEntries(params) as Call['params'] };
    }
    throw new ApiError(400, 'badRequest', `The lab has no method ${verb} ${pathname}`);
  }

  function answer(
    verb: string | undefined,
    target: string,
    authorization: string | undefined,
    text: string,
  ): unknown {
    const { pathname, searchParams: query } = new URL(target, 'http://localhost');
    const { method, params } = find(verb, pathname);
    cloud.calls.push(method.name);
    if (authorization !== `Bearer ${cloud.token}`) {
      throw new ApiError(401, 'required', 'Request is missing required authentication credential.');
    }
    checkParams(params);
    checkQuery(query, method.query);
    const fault = cloud.faults.find((one) => one.method === method.name && one.times-- > 0);
    if (fault) failAs(fault.kind, method, pathname);
    return method.handle({ params, query, body: text === '' ? undefined : JSON.parse(text) });
  }

  return serve(async (request, text, response) => {
    const { method, url: target = '', headers } = request;
    response.setHeader('content-type', 'application/json; charset=UTF-8');
    try {
      const resource = await answer(method, target, headers.authorization, text);
      response.end(JSON.stringify(resource));
    } catch (thrown) {
      if (thrown instanceof Reset) request.socket.destroy();
      else if (thrown instanceof ApiError) response.writeHead(thrown.status).end(JSON.stringify(thrown));
      else if (!(thrown instanceof Silence)) throw thrown;
    }
  }, address);
}

class Reset extends Error {}
class Silence extends Error {}

function failAs(kind: FaultKind, { name }: Method, pathname: string): never {
  const resource = pathname.replace('/compute/v1/', '').replace(/\/(setMetadata|getGuestAttributes)$/, '');
  switch (kind) {
    case 'quota':
      throw new ApiError(
        403,
        'rateLimitExceeded',
        "Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute' of service 'compute.googleapis.com'.",
        'usageLimits',
      );
    case 'permission':
      throw new ApiError(403, 'forbidden', `Required '${permissionOf(name)}' permission for '${resource}'`);
    case 'unavailable':
      throw new ApiError(503, 'backendError', 'The service is currently unavailable.');
    case 'reset':
      throw new Reset();
    case 'silence':
      throw new Silence();
  }
}

const permissionOf = (method: string): string =>
  method.replace('aggregatedList', 'list').replace('.wait', '.get');
