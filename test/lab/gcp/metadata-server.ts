import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { startHttpServer, type ListenAddress, type ServerHandle } from '../http-server';
import { hasGuestAttributes, type GcpState, type MetadataItem, type LabVm } from './state';

export interface MetadataServer extends ServerHandle {
  /** Makes the next `times` requests for paths that start with `path` fail with 503. */
  failNext(times: number, path?: string): void;
  /** The requests so far, in order, such as `GET instance/attributes/peermasq-ruleset`. */
  readonly requests: string[];
}

type MetadataResponse = { readonly status: number; readonly text: string; readonly type?: string };

/** What a metadata server returns data about. `vm` is undefined if the server belongs to a function. */
interface ServerContext {
  readonly cloud: GcpState;
  readonly vm: LabVm | undefined;
}

const notFoundResponse: MetadataResponse = { status: 404, text: 'Not Found\n' };
const notAllowed: MetadataResponse = { status: 405, text: 'Method Not Allowed\n' };
const unavailable: MetadataResponse = { status: 503, text: 'Service Unavailable\n' };
const guestAttributesOff: MetadataResponse = {
  status: 403,
  text: 'Guest attributes endpoint access is disabled.\n',
};
const withoutHeader: MetadataResponse = { status: 403, text: 'Missing Metadata-Flavor:Google header.\n' };
const ok = (text: string, type = 'application/text'): MetadataResponse => ({ status: 200, text, type });
const json = (value: unknown): MetadataResponse => ok(JSON.stringify(value), 'application/json');
const etagOf = ({ text }: MetadataResponse): string =>
  createHash('sha256').update(text).digest('hex').slice(0, 16);

const root = '/computeMetadata/v1/';
/** The size limit for a guest attribute. It is not verified against the real server, but reports must fit in it. */
const guestAttributeLimitBytes = 32 * 1024;

/**
 * Starts the metadata server of a VM, which has the address 169.254.169.254 in a real cloud. If `vm` is undefined,
 * starts the metadata server of a function, which provides the function's identity but no attributes.
 */
export async function startMetadataServer(
  cloud: GcpState,
  vm: LabVm | undefined,
  address?: ListenAddress,
): Promise<MetadataServer> {
  const requests: string[] = [];
  const failures = { times: 0, path: '' };
  const server = await startHttpServer(async (request, body, response) => {
    const { pathname, searchParams: query } = new URL(request.url ?? '/', 'http://localhost');
    const path = decodeURIComponent(pathname).replace(root, '');
    requests.push(`${request.method} ${path}`);
    const isFailing = path.startsWith(failures.path) && failures.times-- > 0;
    const unknownPath = pathname.startsWith(root) ? undefined : notFoundResponse;
    const result =
      headerError(request) ??
      (isFailing ? unavailable : unknownPath) ??
      (await answer({ cloud, vm }, request.method, path, query, body, response));
    response.writeHead(result.status, {
      'Metadata-Flavor': 'Google',
      ServerHandle: 'Metadata Server for VM',
      'Content-Type': result.type ?? 'text/html; charset=UTF-8',
      ETag: etagOf(result),
    });
    response.end(result.text);
  }, address);
  return {
    ...server,
    requests,
    failNext: (times, path = '') => {
      Object.assign(failures, { times, path });
    },
  };
}

const headerError = ({ headers }: IncomingMessage): MetadataResponse | undefined =>
  headers['metadata-flavor'] !== 'Google' || headers['x-forwarded-for'] ? withoutHeader : undefined;

function answer(
  context: ServerContext,
  verb: string | undefined,
  path: string,
  query: URLSearchParams,
  body: string,
  response: ServerResponse,
): MetadataResponse | Promise<MetadataResponse> {
  if (verb === 'PUT') return write(context, path, (vm, key) => put(vm, key, body));
  if (verb === 'DELETE') return write(context, path, remove);
  if (verb !== 'GET') return notAllowed;
  return query.get('wait_for_change')?.toLowerCase() === 'true'
    ? waitForChange(context, path, query, response)
    : read(context, path, query);
}

function read({ cloud, vm }: ServerContext, path: string, query: URLSearchParams): MetadataResponse {
  const [top, second, ...rest] = path.split('/');
  const project = cloud.projects[vm?.project ?? ''];
  const plain: Readonly<Record<string, string>> = {
    instance: 'attributes/\nid\nname\nservice-accounts/\nzone\n',
    'instance/': 'attributes/\nid\nname\nservice-accounts/\nzone\n',
    'project/project-id': vm?.project ?? Object.keys(cloud.projects)[0] ?? 'lab',
    'project/numeric-project-id': project?.number ?? '0',
    'universe/universe-domain': 'googleapis.com',
    ...(vm && {
      'instance/id': vm.id,
      'instance/name': vm.name,
      'instance/zone': `projects/${project?.number ?? '0'}/zones/${vm.zone}`,
    }),
  };
  if (plain[path] !== undefined) return ok(plain[path]);
  if (path.startsWith('instance/service-accounts/')) return identity(cloud, rest.join('/'));
  if (!vm) return notFoundResponse;
  if (second === 'guest-attributes') return guestAttribute(cloud, vm, rest.join('/'));
  if (second !== 'attributes') return notFoundResponse;
  const items = top === 'instance' ? vm.metadata : (project?.metadata ?? []);
  return attributes(items, rest[0] ?? '', query.get('recursive')?.toLowerCase() === 'true');
}

function guestAttribute(cloud: GcpState, vm: LabVm, path: string): MetadataResponse {
  if (!hasGuestAttributes(cloud, vm)) return guestAttributesOff;
  const value = vm.guestAttributes[path];
  return value === undefined ? notFoundResponse : ok(value);
}

type Write = (vm: LabVm, key: string) => MetadataResponse;

function write({ cloud, vm }: ServerContext, path: string, apply: Write): MetadataResponse {
  const [, key] =
    /^instance\/guest-attributes\/([A-Za-z0-9_.-]{1,128}\/[A-Za-z0-9_.-]{1,128})$/.exec(path) ?? [];
  if (!vm || key === undefined) return notAllowed;
  if (!hasGuestAttributes(cloud, vm)) return guestAttributesOff;
  const answer = apply(vm, key);
  cloud.changes.emit('change', vm);
  return answer;
}

function put({ guestAttributes }: LabVm, key: string, text: string): MetadataResponse {
  if (Buffer.byteLength(text) > guestAttributeLimitBytes) return { status: 413, text: 'Too large\n' };
  guestAttributes[key] = text;
  return ok('');
}

function remove({ guestAttributes }: LabVm, key: string): MetadataResponse {
  if (guestAttributes[key] === undefined) return notFoundResponse;
  Reflect.deleteProperty(guestAttributes, key);
  return ok('');
}

/**
 * Responds immediately if the client's value is out of date. Otherwise, responds after the value changes or the timeout
 * expires.
 */
async function waitForChange(
  context: ServerContext,
  path: string,
  query: URLSearchParams,
  response: ServerResponse,
): Promise<MetadataResponse> {
  const known = query.get('last_etag') ?? etagOf(read(context, path, query));
  const seconds = Number(query.get('timeout_sec') ?? 3600);
  const over = new AbortController();
  const timer = setTimeout(() => {
    over.abort();
  }, seconds * 1000);
  response.once('close', () => {
    over.abort();
  });
  for (;;) {
    const answer = read(context, path, query);
    if (answer.status !== 200 || etagOf(answer) !== known || over.signal.aborted) {
      clearTimeout(timer);
      return answer;
    }
    await once(context.cloud.changes, 'change', { signal: over.signal }).catch(() => undefined);
  }
}

function attributes(items: readonly MetadataItem[], key: string, isRecursive: boolean): MetadataResponse {
  if (key === '') {
    const entries = items.map((item) => [item.key, item.value] as const);
    return isRecursive
      ? json(Object.fromEntries(entries))
      : ok(entries.map(([name]) => `${name}\n`).join(''));
  }
  const item = items.find((one) => one.key === key);
  return item ? ok(item.value) : notFoundResponse;
}

function identity({ token }: GcpState, path: string): MetadataResponse {
  const email = 'peermasq@identity-nonprod.iam.gserviceaccount.com';
  const answers: Record<string, MetadataResponse> = {
    'default/token': json({ access_token: token, expires_in: 3599, token_type: 'Bearer' }),
    'default/email': ok(email),
    'default/scopes': ok('https://www.googleapis.com/auth/cloud-platform\n'),
    'default/': json({
      aliases: ['default'],
      email,
      scopes: ['https://www.googleapis.com/auth/cloud-platform'],
    }),
  };
  return answers[path] ?? notFoundResponse;
}
