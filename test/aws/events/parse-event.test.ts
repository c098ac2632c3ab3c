import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { parseEvent } from '../../../shared/aws/events/parse-event';
import { fixture, location, node, nodeParsers, parse, scope, withDetail, type Json } from './fixtures';

const running = fixture('state-change-running');
const started = fixture('run-instances');

describe('an incoming event', () => {
  test('is handled when it comes from any account of the deployment', () => {
    const event = { ...running, account: '222222222222' };
    const accounts = [location.account, '222222222222'];
    expect(parse(event, { ...scope, accounts })).toMatchObject({ nodes: [{ account: '222222222222' }] });
  });

  test.each<[string, unknown, string]>([
    [
      'has another detail type',
      fixture('auto-scaling-terminate-lifecycle-action'),
      'unhandled event type: aws.autoscaling: EC2 Instance-terminate Lifecycle Action',
    ],
    [
      'has another source',
      { ...running, source: 'aws.s3' },
      'unhandled event type: aws.s3: EC2 Instance State-change Notification',
    ],
    [
      'reports another API call',
      withDetail(started, { eventName: 'StopInstances' }),
      'unhandled API call: StopInstances',
    ],
    [
      'is the test notification of a launch hook',
      fixture('auto-scaling-test-notification'),
      'test notification from Auto Scaling',
    ],
    [
      'is from another account',
      { ...running, account: '210987654321' },
      'event from account 210987654321 in us-east-1: this deployment handles 123456789012 in us-east-1',
    ],
    [
      'is from another region',
      { ...started, region: 'eu-west-1' },
      'event from account 123456789012 in eu-west-1: this deployment handles 123456789012 in us-east-1',
    ],
  ])('is ignored when it %s', (_, event, reason) => {
    expect(parse(event)).toEqual({ kind: 'ignored', reason });
  });

  test.each<[string, unknown, RegExp]>([
    ['is empty', undefined, /^the message body is not JSON$/],
    ['is a string', 'hello', /^not an EventBridge event/],
    ['is a list', [running], /^not an EventBridge event/],
    ['has a number as the account', { ...running, account: 123456789012 }, /account/],
    ['has no detail', { ...running, detail: undefined }, /detail/],
    ['has no region', { ...running, region: undefined }, /region/],
    ['has an invalid time', { ...running, time: 'yesterday' }, /time/],
  ])('is malformed when it %s', (_, event, reason) => {
    expect(parse(event)).toEqual({ kind: 'malformed', reason: expect.stringMatching(reason) });
  });

  test('that is arbitrary text or JSON is malformed, and the result says why', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (body) => {
        expect(parseEvent(body, scope, nodeParsers)).toEqual({
          kind: 'malformed',
          reason: expect.stringMatching(/./),
        });
      }),
    );
  });
});

const nearlyIds = fc.stringMatching(/^i-[0-9a-g]{7,18}\n?$/);
const changedEvents = fc.oneof(changed(running), changed(started));

test('an event with random changes never makes the parser throw, and never announces an instance of another account or region', () => {
  const kinds = new Set<string>();
  fc.assert(
    fc.property(changedEvents, (event) => {
      const parsed = parse(event);
      kinds.add(parsed.kind);
      if (parsed.kind !== 'nodes-joined') return;
      expect(parsed.at.getTime()).not.toBeNaN();
      expect(parsed.nodes).not.toEqual([]);
      for (const one of parsed.nodes) {
        expect(one).toEqual(node(one.id));
        expect(one.id).toMatch(/^i-([0-9a-f]{8}|[0-9a-f]{17})$/);
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

/** Returns a copy with a different value at the path, or an equal copy if the path does not exist. */
function replaced(value: unknown, [key, ...rest]: Path, by: unknown): unknown {
  if (key === undefined) return by;
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return value;
  const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...value }) as Json;
  copy[key] = replaced(copy[key], rest, by);
  return copy;
}

/**
 * Generates copies of the event in which up to three values are replaced. An ID is often replaced by a similar one.
 */
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
