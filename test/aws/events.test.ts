import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { parseAwsEvent } from '../../shared/aws/events';

type Json = Record<string, unknown>;

const load = (name: string): Json =>
  JSON.parse(readFileSync(join(__dirname, '../events/aws', `${name}.json`), 'utf8')) as Json;

const home = { account: '123456789012', region: 'us-east-1' };
const node = (id: string) => ({ cloud: 'aws', ...home, id });

describe('events that announce nodes', () => {
  test.each([
    ['state-change-running', ['i-1234567890abcdef0'], '2021-11-11T21:29:54Z'],
    ['run-instances', ['i-1234567890abcdef0', 'i-0598c7d356eba48d7'], '2023-07-19T21:17:28Z'],
  ])('%s', (name, ids, at) => {
    expect(parseAwsEvent(load(name), home)).toEqual({
      kind: 'nodes-joined',
      nodes: ids.map(node),
      at: new Date(at),
    });
  });

  test.each(['us-gov-west-1', 'us-isob-east-1', 'eusc-de-east-1', 'ap-southeast-7'])(
    'region %s',
    (region) => {
      expect(parseAwsEvent({ ...load('state-change-running'), region }, { ...home, region })).toMatchObject({
        nodes: [{ region }],
      });
    },
  );

  test('an instance that is named twice is one node', () => {
    const event = load('run-instances');
    const item = { instanceId: 'i-1234567890abcdef0' };
    const detail = {
      ...(event['detail'] as Json),
      responseElements: { instancesSet: { items: [item, item] } },
    };
    expect(parseAwsEvent({ ...event, detail }, home)).toMatchObject({ nodes: [node(item.instanceId)] });
  });
});

describe('events that announce none are ignored with the reason', () => {
  test.each([
    ['state-change-stopped', 'i-1234567890abcdef0 is stopped, not running'],
    ['run-instances-refused', 'RunInstances started nothing: Client.InstanceLimitExceeded'],
    ['run-instances-dry-run', 'RunInstances started nothing: Client.DryRunOperation'],
  ])('%s', (name, reason) => {
    expect(parseAwsEvent(load(name), home)).toEqual({ kind: 'ignored', reason });
  });

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
    ['nothing', undefined, /^not an EventBridge event/],
    ['text', 'hello', /^not an EventBridge event/],
    ['a list', [running], /^not an EventBridge event/],
    ['another source', { ...running, source: 'aws.s3' }, /^not an event of ours: aws\.s3/],
    ['another type', { ...running, 'detail-type': 'EC2 Spot Instance' }, /^not an event of ours/],
    ['no detail', { ...running, detail: undefined }, /^malformed/],
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
    [
      'another account',
      { ...running, account: '210987654321' },
      /^an event of account 210987654321 in us-east-1; served is 123456789012 in us-east-1$/,
    ],
    [
      'another region',
      { ...started, region: 'eu-west-1' },
      /in eu-west-1; served is 123456789012 in us-east-1$/,
    ],
    ['an account that is none', { ...running, account: 123456789012 }, /account/],
    ['a region that is none', { ...running, region: undefined }, /region/],
    ['a time that is none', { ...running, time: 'yesterday' }, /time/],
    ['another call', { ...started, detail: { ...detail, eventName: 'StopInstances' } }, /starts no node/],
    ['no response', { ...started, detail: { ...detail, responseElements: null } }, /no response/],
    [
      'a response without instances',
      { ...started, detail: { ...detail, responseElements: {} } },
      /instancesSet/,
    ],
    ['an empty list of instances', items(), /items/],
    ['an id that is a number', items(5), /instanceId/],
  ])('%s', (_, event, reason) => {
    expect(parseAwsEvent(event, home)).toEqual({ kind: 'ignored', reason: expect.stringMatching(reason) });
  });

  test('anything at all', () => {
    fc.assert(
      fc.property(fc.anything(), (event) => {
        expect(parseAwsEvent(event, home)).toEqual({ kind: 'ignored', reason: expect.stringMatching(/./) });
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
      const parsed = parseAwsEvent(event, home);
      kinds.add(parsed.kind);
      if (parsed.kind === 'ignored') return;
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
  expect([...kinds].sort()).toEqual(['ignored', 'nodes-joined']);
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
