import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { serve, type Address, type Server } from './server';
import { hasGuestAttributes, type GoogleCloud, type Item, type Vm } from './state';

export interface MetadataServer extends Server {
  /** The next requests for paths that begin so are answered with 503. */
  failNext(times: number, path?: string): void;
  /** Each request that arrived, in order: `GET instance/attributes/peermasq-ruleset`. */
  readonly requests: string[];
}

type Answer = { readonly status: number; readonly text: string; readonly type?: string };

/** The cloud as one VM sees it, or a function where there is no VM. */
interface Place {
  readonly cloud: GoogleCloud;
  readonly vm: Vm | undefined;
}

const absent: Answer = { status: 404, text: 'Not Found\n' };
const notAllowed: Answer = { status: 405, text: 'Method Not Allowed\n' };
const unavailable: Answer = { status: 503, text: 'Service Unavailable\n' };
const guestAttributesOff: Answer = { status: 403, text: 'Guest attributes endpoint access is disabled.\n' };
const withoutHeader: Answer = { status: 403, text: 'Missing Metadata-Flavor:Google header.\n' };
const ok = (text: string, type = 'application/text'): Answer => ({ status: 200, text, type });
const json = (value: unknown): Answer => ok(JSON.stringify(value), 'application/json');
const etagOf = ({ text }: Answer): string => createHash('sha256').update(text).digest('hex').slice(0, 16);

const root = '/computeMetadata/v1/';
/** What a value may hold is not verified; nothing is to need more than this. */
const guestAttributeLimitBytes = 32 * 1024;

/**
 * The metadata server as one VM sees it, at 169.254.169.254 in a cloud. Without a VM it is that of a
 * function: identity only.
 */
export async function startMetadataServer(
  cloud: GoogleCloud,
  vm: Vm | undefined,
  address?: Address,
): Promise<MetadataServer> {
  const requests: string[] = [];
  const failing = { times: 0, path: '' };
  const server = await serve(async (request, body, response) => {
    const { pathname, searchParams: query } = new URL(request.url ?? '/', 'http://localhost');
    const path = decodeURIComponent(pathname).replace(root, '');
    requests.push(`${request.method} ${path}`);
    const isFailing = path.startsWith(failing.path) && failing.times-- > 0;
    const refusal = pathname.startsWith(root) ? undefined : absent;
    const answered =
      refusalOf(request) ??
      (isFailing ? unavailable : refusal) ??
      (await answer({ cloud, vm }, request.method, path, query, body, response));
    response.writeHead(answered.status, {
      'Metadata-Flavor': 'Google',
      Server: 'Metadata Server for VM',
      'Content-Type': answered.type ?? 'text/html; charset=UTF-8',
      ETag: etagOf(answered),
    });
    response.end(answered.text);
  }, address);
  return {
    ...server,
    requests,
    failNext: (times, path = '') => {
      Object.assign(failing, { times, path });
    },
  };
}

const refusalOf = ({ headers }: IncomingMessage): Answer | undefined =>
  headers['metadata-flavor'] !== 'Google' || headers['x-forwarded-for'] ? withoutHeader : undefined;

function answer(
  place: Place,
  verb: string | undefined,
  path: string,
  query: URLSearchParams,
  body: string,
  response: ServerResponse,
): Answer | Promise<Answer> {
  if (verb === 'PUT') return write(place, path, (vm, key) => put(vm, key, body));
  if (verb === 'DELETE') return write(place, path, remove);
  if (verb !== 'GET') return notAllowed;
  return query.get('wait_for_change')?.toLowerCase() === 'true'
    ? changed(place, path, query, response)
    : read(place, path, query);
}

function read({ cloud, vm }: Place, path: string, query: URLSearchParams): Answer {
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
  if (!vm) return absent;
  if (second === 'guest-attributes') return guestAttribute(cloud, vm, rest.join('/'));
  if (second !== 'attributes') return absent;
  const items = top === 'instance' ? vm.metadata : (project?.metadata ?? []);
  return attributes(items, rest[0] ?? '', query.get('recursive')?.toLowerCase() === 'true');
}

function guestAttribute(cloud: GoogleCloud, vm: Vm, path: string): Answer {
  if (!hasGuestAttributes(cloud, vm)) return guestAttributesOff;
  const value = vm.guestAttributes[path];
  return value === undefined ? absent : ok(value);
}

type Write = (vm: Vm, key: string) => Answer;

function write({ cloud, vm }: Place, path: string, apply: Write): Answer {
  const [, key] =
    /^instance\/guest-attributes\/([A-Za-z0-9_.-]{1,128}\/[A-Za-z0-9_.-]{1,128})$/.exec(path) ?? [];
  if (!vm || key === undefined) return notAllowed;
  if (!hasGuestAttributes(cloud, vm)) return guestAttributesOff;
  const answer = apply(vm, key);
  cloud.changes.emit('change', vm);
  return answer;
}

function put({ guestAttributes }: Vm, key: string, text: string): Answer {
  if (Buffer.byteLength(text) > guestAttributeLimitBytes) return { status: 413, text: 'Too large\n' };
  guestAttributes[key] = text;
  return ok('');
}

function remove({ guestAttributes }: Vm, key: string): Answer {
  if (guestAttributes[key] === undefined) return absent;
  Reflect.deleteProperty(guestAttributes, key);
  return ok('');
}

/** Answers at once when the client does not have the current value, else when it changes or the time is up. */
async function changed(
  place: Place,
  path: string,
  query: URLSearchParams,
  response: ServerResponse,
): Promise<Answer> {
  const known = query.get('last_etag') ?? etagOf(read(place, path, query));
  const seconds = Number(query.get('timeout_sec') ?? 3600);
  const over = new AbortController();
  const timer = setTimeout(() => {
    over.abort();
  }, seconds * 1000);
  response.once('close', () => {
    over.abort();
  });
  for (;;) {
    const answer = read(place, path, query);
    if (answer.status !== 200 || etagOf(answer) !== known || over.signal.aborted) {
      clearTimeout(timer);
      return answer;
    }
    await once(place.cloud.changes, 'change', { signal: over.signal }).catch(() => undefined);
  }
}

function attributes(items: readonly Item[], key: string, isRecursive: boolean): Answer {
  if (key === '') {
    const entries = items.map((item) => [item.key, item.value] as const);
    return isRecursive
      ? json(Object.fromEntries(entries))
      : ok(entries.map(([name]) => `${name}\n`).join(''));
  }
  const item = items.find((one) => one.key === key);
  return item ? ok(item.value) : absent;
}

function identity({ token }: GoogleCloud, path: string): Answer {
  const email = 'peermasq@identity-nonprod.iam.gserviceaccount.com';
  const answers: Record<string, Answer> = {
    'default/token': json({ access_token: token, expires_in: 3599, token_type: 'Bearer' }),
    'default/email': ok(email),
    'default/scopes': ok('https://www.googleapis.com/auth/cloud-platform\n'),
    'default/': json({
      aliases: ['default'],
      email,
      scopes: ['https://www.googleapis.com/auth/cloud-platform'],
    }),
  };
  return answers[path] ?? absent;
}
