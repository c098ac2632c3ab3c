import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { parseAwsEvent } from '../../shared/aws/events';

type Json = Record<string, unknown>;

const load = (name: string): Json =>
  JSON.parse(readFileSync(join(__dirname, '../events/aws', `${name}.json`), 'utf8')) as Json;

const node = (id: string) => ({ cloud: 'aws', account: '123456789012', region: 'us-east-1', id });

describe('events that announce nodes', () => {
  test.each([
    ['state-change-running', ['i-1234567890abcdef0'], '2021-11-11T21:29:54Z'],
    ['run-instances', ['i-1234567890abcdef0', 'i-0598c7d356eba48d7'], '2023-07-19T21:17:28Z'],
  ])('%s', (name, ids, at) => {
    expect(parseAwsEvent(load(name))).toEqual({
      kind: 'nodes-joined',
      nodes: ids.map(node),
      at: new Date(at),
    });
  });

  test.each(['us-gov-west-1', 'us-isob-east-1', 'eusc-de-east-1', 'ap-southeast-7'])(
    'region %s',
    (region) => {
      expect(parseAwsEvent({ ...load('state-change-running'), region })).toMatchObject({
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
    expect(parseAwsEvent({ ...event, detail })).toMatchObject({ nodes: [node(item.instanceId)] });
  });
});

describe('events that announce none are ignored with the reason', () => {
  test.each([
    ['state-change-stopped', 'i-1234567890abcdef0 is stopped, not running'],
    ['run-instances-refused', 'RunInstances started nothing: Client.InstanceLimitExceeded'],
    ['run-instances-dry-run', 'RunInstances started nothing: Client.DryRunOperation'],
  ])('%s', (name, reason) => {
    expect(parseAwsEvent(load(name))).toEqual({ kind: 'ignored', reason });
  });

  const running = load('state-change-running');
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
    ['an account that is none', { ...running, account: '12345' }, /account/],
    ['a region that is none', { ...running, region: 'us-east-1/../x' }, /region/],
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
    expect(parseAwsEvent(event)).toEqual({ kind: 'ignored', reason: expect.stringMatching(reason) });
  });

  test('whatever arrives, nothing is thrown, and every id that comes out is one', () => {
    const kinds = fc.constantFrom('EC2 Instance State-change Notification', 'AWS API Call via CloudTrail');
    const anything = fc.oneof(
      fc.anything(),
      fc.record({ ...mapToConstants(running), 'detail-type': kinds, detail: fc.anything() }),
    );
    fc.assert(
      fc.property(anything, (event) => {
        const parsed = parseAwsEvent(event);
        if (parsed.kind === 'ignored') expect(parsed.reason).not.toBe('');
        else for (const { id } of parsed.nodes) expect(id).toMatch(/^i-[0-9a-f]{8,17}$/);
      }),
    );
  });
});

function mapToConstants(value: Json): Record<string, fc.Arbitrary<unknown>> {
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, fc.constant(one)]));
}
