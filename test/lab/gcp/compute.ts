import { createHash, randomInt } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { serve, type Address, type Server } from './server';
import {
  networkUrl,
  subnetworkUrl,
  url,
  type FaultKind,
  type GoogleCloud,
  type Item,
  type Network,
  type Subnetwork,
  type Vm,
} from './state';

/** A refusal, as the API words it. */
class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly reason: string,
    message: string,
    readonly domain = 'global',
  ) {
    super(message);
  }

  toJSON() {
    const { status: code, message, domain, reason } = this;
    return { error: { code, message, errors: [{ message, domain, reason }] } };
  }
}

const notFound = (path: string) => new ApiError(404, 'notFound', `The resource '${path}' was not found`);
const invalid = (message: string) => new ApiError(400, 'invalid', message);

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

/** The patterns of the discovery document. */
const patterns: Readonly<Record<string, RegExp>> = {
  project:
    /^(?:(?:[-a-z0-9]{1,63}\.)*(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?):)?(?:[0-9]{1,19}|[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)$/,
  zone: /^[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?$/,
  instance: /^(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?|[1-9][0-9]{0,19})$/,
  network: /^(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?|[1-9][0-9]{0,19})$/,
  operation: /^[a-z0-9-]{1,80}$/,
};

const listQuery = ['maxResults', 'pageToken', 'filter', 'orderBy', 'returnPartialSuccess'];
const systemQuery = ['alt', '$alt', '$.xgafv', 'prettyPrint', 'key', 'fields'];

interface Operation {
  readonly name: string;
  readonly project: string;
  readonly zone: string;
  readonly targetId: string;
  readonly ends: number;
}

const metadataLimits = { value: 256 * 1024, all: 512 * 1024 };

/** Changes with every change of the items, as the API's does. */
export const fingerprintOf = (items: readonly Item[]): string =>
  createHash('sha256').update(JSON.stringify(items)).digest('base64url').slice(0, 11) + '=';

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
    checkQuery(query, method);
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

function checkParams(params: Call['params']): void {
  for (const [key, value] of Object.entries(params)) {
    if (patterns[key]?.test(value)) continue;
    throw invalid(
      `Invalid value for field '${key}': '${value}'. Must be a match of regex '${patterns[key]?.source}'`,
    );
  }
}

function checkQuery(query: URLSearchParams, { query: known }: Method): void {
  const unknown = [...query.keys()].find((key) => !known.includes(key) && !systemQuery.includes(key));
  if (unknown === undefined) return;
  throw new ApiError(
    400,
    'badRequest',
    `Invalid JSON payload received. Unknown name "${unknown}": Cannot bind query parameter.`,
  );
}

function checkRequestId(id: string | null): void {
  if (id === null || /^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id))
    return;
  throw invalid(`Invalid value for field 'requestId': '${id}'. Must be a UUID.`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function checkFields(value: unknown, known: readonly string[]): Record<string, unknown> {
  if (!isRecord(value)) throw invalid('Invalid JSON payload received. An object was expected.');
  const unknown = Object.keys(value).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    throw new ApiError(
      400,
      'badRequest',
      `Invalid JSON payload received. Unknown name "${unknown}": Cannot find field.`,
    );
  }
  return value;
}

function readMetadata(body: unknown): { items: Item[]; fingerprint: unknown } {
  const { items = [], fingerprint } = checkFields(body, ['kind', 'fingerprint', 'items']);
  if (!Array.isArray(items)) throw invalid("Invalid value for field 'metadata.items'.");
  const read = items.map((item: unknown): Item => {
    const { key, value } = checkFields(item, ['key', 'value']);
    if (typeof key !== 'string' || !/^[a-zA-Z0-9-_]{1,128}$/.test(key)) {
      throw invalid(`Invalid value for field 'metadata.items.key': '${String(key)}'.`);
    }
    if (typeof value !== 'string' || Buffer.byteLength(value) > metadataLimits.value) {
      throw invalid(`Invalid value for field 'metadata.items.value'. ${key} must be at most 262144 bytes.`);
    }
    return { key, value };
  });
  if (new Set(read.map(({ key }) => key)).size < read.length) {
    throw invalid("Invalid value for field 'metadata.items'. Metadata has duplicate keys.");
  }
  const all = read.reduce((sum, { key, value }) => sum + key.length + Buffer.byteLength(value), 0);
  if (all > metadataLimits.all) {
    throw new ApiError(
      413,
      'uploadTooLarge',
      'Request Entity Too Large: total metadata size is limited to 524288 bytes.',
    );
  }
  return { items: read, fingerprint };
}

const pathOf = ({ project, zone, name }: Vm): string => `projects/${project}/zones/${zone}/instances/${name}`;

function vmResource(vm: Vm): unknown {
  const { project, zone, id, name, status, labels, tags, metadata, networkInterfaces, disks } = vm;
  return {
    kind: 'compute#instance',
    id,
    name,
    status,
    zone: url(`projects/${project}/zones/${zone}`),
    selfLink: url(pathOf(vm)),
    labels,
    tags: { items: tags, fingerprint: '42WmSpB8rSM=' },
    metadata: { kind: 'compute#metadata', fingerprint: fingerprintOf(metadata), items: metadata },
    networkInterfaces: networkInterfaces.map((nic, index) => ({
      kind: 'compute#networkInterface',
      name: `nic${index}`,
      ...nic,
    })),
    disks: disks.map((disk) => ({ kind: 'compute#attachedDisk', ...disk })),
  };
}

const networkResource = ({ project, name, internalIpv6Range, peerings }: Network): unknown => ({
  kind: 'compute#network',
  name,
  selfLink: networkUrl(project, name),
  ...(internalIpv6Range === undefined ? {} : { internalIpv6Range }),
  peerings: peerings.map((peering) => ({ ...peering, autoCreateRoutes: true, exchangeSubnetRoutes: true })),
});

const subnetworkResource = ({ project, region, name, network, ...ranges }: Subnetwork): unknown => ({
  kind: 'compute#subnetwork',
  name,
  selfLink: subnetworkUrl(project, region, name),
  region: url(`projects/${project}/regions/${region}`),
  network: networkUrl(project, network),
  ...ranges,
});
