import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { parseEvent, routeCalls } from '../../../shared/aws/events/parse-event';

type Json = Record<string, unknown>;

const load = (name: string): Json =>
  JSON.parse(readFileSync(join(__dirname, '../../events/aws', `${name}.json`), 'utf8')) as Json;

const ownAccount = { account: '123456789012', region: 'us-east-1' };
const scope = { region: ownAccount.region, accounts: [ownAccount.account] };
const node = (id: string) => ({ cloud: 'aws', ...ownAccount, id });

/** As it arrives: text. */
const parse = (event: unknown, by = scope) =>
  parseEvent(event === undefined ? '' : JSON.stringify(event), by);

describe('events that announce nodes', () => {
  test.each([
    ['state-change-running', 'running', ['i-1234567890abcdef0'], '2021-11-11T21:29:54Z'],
    ['run-instances', 'started', ['i-1234567890abcdef0', 'i-0598c7d356eba48d7'], '2023-07-19T21:17:28Z'],
    ['auto-scaling-launch-successful', 'launched', ['i-1234567890abcdef0'], '2023-07-19T21:17:28Z'],
  ])('%s', (name, by, ids, at) => {
    expect(parse(load(name))).toEqual({
      kind: 'nodes-joined',
      by,
      nodes: ids.map(node),
      at: new Date(at),
    });
  });

  test.each(['us-gov-west-1', 'us-isob-east-1', 'eusc-de-east-1', 'ap-southeast-7'])(
    'region %s',
    (region) => {
      const event = { ...load('state-change-running'), region };
      expect(parse(event, { ...scope, region })).toMatchObject({ nodes: [{ region }] });
    },
  );

  test('of another account that is served', () => {
    const event = { ...load('state-change-running'), account: '222222222222' };
    const accounts = [ownAccount.account, '222222222222'];
    expect(parse(event, { ...scope, accounts })).toMatchObject({ nodes: [{ account: '222222222222' }] });
  });

  test('an instance that is named twice is one node', () => {
    const event = load('run-instances');
    const item = { instanceId: 'i-1234567890abcdef0' };
    const detail = {
      ...(event['detail'] as Json),
      responseElements: { instancesSet: { items: [item, item] } },
    };
    expect(parse({ ...event, detail })).toMatchObject({ nodes: [node(item.instanceId)] });
  });
});

describe('a launch that waits', () => {
  const event = load('auto-scaling-launch-lifecycle-action');
  const detail = event['detail'] as Json;

  test('for peermasq is told with what completes it', () => {
    expect(parse(event)).toMatchObject({
      kind: 'nodes-joined',
      nodes: [node(String(detail['EC2InstanceId']))],
      launch: {
        instanceId: detail['EC2InstanceId'],
        group: detail['AutoScalingGroupName'],
        hook: detail['LifecycleHookName'],
        token: detail['LifecycleActionToken'],
      },
    });
  });

  test('for somebody else is a node that joins, and no more', () => {
    const other = { ...event, detail: { ...detail, LifecycleHookName: 'warm-up' } };
    expect(parse(other)).not.toHaveProperty('launch');
    expect(parse(other)).toMatchObject({ kind: 'nodes-joined' });
  });
});

describe('calls that change where routes lead', () => {
  const files = [
    'create-vpc-peering-connection',
    'accept-vpc-peering-connection',
    'delete-vpc-peering-connection',
    'create-route',
    'replace-route',
    'delete-route',
    'associate-route-table',
    'disassociate-route-table',
    'replace-route-table-association',
  ];

  test.each(files)('%s', (name) => {
    const event = load(name);
    expect(parse(event)).toEqual({
      kind: 'routes-changed',
      change: (event['detail'] as Json)['eventName'],
      account: ownAccount.account,
      at: new Date('2023-07-19T21:17:28Z'),
    });
  });

  test('there is an event of each', () => {
    expect(files.map((name) => (load(name)['detail'] as Json)['eventName'])).toEqual(routeCalls);
  });
});

test('a command that has ended', () => {
  expect(parse(load('command-invocation-success'))).toEqual({
    kind: 'command-finished',
    node: node('i-1234567890abcdef0'),
    commandId: 'e8d3c0e4-71f7-4491-898f-c9b35bee5f3b',
    requestedAt: new Date('2016-07-10T21:51:30.049Z'),
  });
});

describe('events that mean nothing to us are ignored with the reason', () => {
  const running = load('state-change-running');
  const one = running['detail'] as Json;
  const started = load('run-instances');
  const detail = started['detail'] as Json;
  const items = (...ids: unknown[]) => ({
    ...started,
    detail: {
      ...detail,
      responseElements: { instancesSet: { items: ids.map((instanceId) => ({ instanceId })) } },
    },
  });

  test.each<[string, unknown, RegExp]>([
    ['a stopped instance', load('state-change-stopped'), /^i-1234567890abcdef0 is stopped, not running$/],
    ['a refused call', load('run-instances-refused'), /did nothing: Client\.InstanceLimitExceeded$/],
    ['a dry run', load('run-instances-dry-run'), /did nothing: Client\.DryRunOperation$/],
    ['a refused route', load('create-route-refused'), /did nothing: Client\.UnauthorizedOperation$/],
    ['a command under way', load('command-invocation-in-progress'), /is InProgress on/],
    ['the end of an instance', load('auto-scaling-terminate-lifecycle-action'), /^not an event of ours/],
    ['a test of the queue', load('auto-scaling-test-notification'), /^a test notification/],
    ['another source', { ...running, source: 'aws.s3' }, /^not an event of ours: aws\.s3/],
    ['another type', { ...running, 'detail-type': 'EC2 Spot Instance' }, /^not an event of ours/],
    [
      'another account',
      { ...running, account: '210987654321' },
      /^an event of account 210987654321 in us-east-1; served are 123456789012 in us-east-1$/,
    ],
    [
      'another region',
      { ...started, region: 'eu-west-1' },
      /in eu-west-1; served are 123456789012 in us-east-1$/,
    ],
    ['another call', { ...started, detail: { ...detail, eventName: 'StopInstances' } }, /starts no node/],
    ['no response', { ...started, detail: { ...detail, responseElements: null } }, /no response/],
  ])('%s', (_, event, reason) => {
    expect(parse(event)).toEqual({ kind: 'ignored', reason: expect.stringMatching(reason) });
  });

  test.each<[string, unknown, RegExp]>([
    ['nothing', undefined, /^The message body is not JSON/],
    ['text', 'hello', /^not an EventBridge event/],
    ['a list', [running], /^not an EventBridge event/],
    ['no detail', { ...running, detail: undefined }, /detail/],
    ['a detail that is none', { ...running, detail: null }, /^malformed aws\.ec2/],
    ['an id without hyphen', { ...running, detail: { instanceId: 'i-1234567890abcdef0' } }, /instance-id/],
    [
      'an id that is a command',
      { ...running, detail: { 'instance-id': 'i-0;id', state: 'running' } },
      /instance-id/,
    ],
    [
      'an id of 16 digits',
      { ...running, detail: { ...one, 'instance-id': 'i-1234567890abcdef' } },
      /instance-id/,
    ],
    ['an id of 9 digits', items('i-123456789'), /instanceId/],
    ['an account that is none', { ...running, account: 123456789012 }, /account/],
    ['a region that is none', { ...running, region: undefined }, /region/],
    ['a time that is none', { ...running, time: 'yesterday' }, /time/],
    [
      'a response without instances',
      { ...started, detail: { ...detail, responseElements: {} } },
      /instancesSet/,
    ],
    ['an empty list of instances', items(), /items/],
    ['an id that is a number', items(5), /instanceId/],
  ])('%s is malformed', (_, event, reason) => {
    expect(parse(event)).toEqual({ kind: 'malformed', reason: expect.stringMatching(reason) });
  });

  test('anything at all, with a reason', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (body) => {
        expect(parseEvent(body, scope)).toEqual({
          kind: 'malformed',
          reason: expect.stringMatching(/./),
        });
      }),
    );
  });
});

const nearlyIds = fc.stringMatching(/^i-[0-9a-g]{7,18}\n?$/);
const changedEvents = fc.oneof(changed(load('state-change-running')), changed(load('run-instances')));

test('however an event is changed, nothing is thrown, and what comes out are instances of here', () => {
  const kinds = new Set<string>();
  fc.assert(
    fc.property(changedEvents, (event) => {
      const parsed = parse(event);
      kinds.add(parsed.kind);
      if (parsed.kind !== 'nodes-joined') return;
      expect(parsed.at.getTime()).not.toBeNaN();
      expect(parsed.nodes).not.toEqual([]);
      for (const one of parsed.nodes) {
        expect(one).toEqual(
          node(expect.stringMatching(/^i-([0-9a-f]{8}|[0-9a-f]{17})$/) as unknown as string),
        );
      }
    }),
    { numRuns: 500 },
  );
  expect([...kinds].sort()).toEqual(['ignored', 'malformed', 'nodes-joined']);
});

type Path = readonly string[];

function pathsIn(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, inner]) => pathsIn(inner, [...path, key]))];
}

/** The value with something else at the path; as it was where there is no such path (any more). */
function replaced(value: unknown, [key, ...rest]: Path, by: unknown): unknown {
  if (key === undefined) return by;
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return value;
  const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...value }) as Json;
  copy[key] = replaced(copy[key], rest, by);
  return copy;
}

/** The event with up to three values replaced: often an id, by what resembles one. */
function changed(event: Json): fc.Arbitrary<unknown> {
  const paths = pathsIn(event);
  const ids = paths.filter((path) => /^instance-?id$/i.test(path.at(-1) ?? ''));
  const change = fc.oneof(
    fc.tuple(fc.constantFrom(...paths), fc.oneof(fc.anything(), fc.string())),
    fc.tuple(fc.constantFrom(...ids), nearlyIds),
  );
  return fc
    .array(change, { maxLength: 3 })
    .map((changes) => changes.reduce<unknown>((was, [path, by]) => replaced(was, path, by), event));
}
