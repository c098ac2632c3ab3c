import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { subscriptions, restrictTo } from '../../../infra/aws/patterns';
import { matchesPattern } from '../../lab/aws/event-pattern';

type Json = Record<string, unknown>;

const folder = join(__dirname, '../../events/aws');
const fixture = (name: string): Json =>
  JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as Json;

/** Returns a copy of a recorded event with some fields of `detail` replaced. */
const changed = (name: string, detail: Json): Json => {
  const event = fixture(name);
  return { ...event, detail: { ...(event['detail'] as Json), ...detail } };
};

const queuesFor = (event: Json) =>
  subscriptions('prod')
    .filter(({ pattern }) => matchesPattern(pattern, event))
    .map(({ queue }) => queue);

/** The queue to which each recorded event is sent, or undefined if the event is ignored. */
const expectedQueues: Readonly<Record<string, string | undefined>> = {
  'run-instances': 'nodes',
  'state-change-running': 'nodes',
  'auto-scaling-launch-lifecycle-action': 'nodes',
  'auto-scaling-launch-successful': 'nodes',
  'create-vpc-peering-connection': 'routes',
  'accept-vpc-peering-connection': 'routes',
  'delete-vpc-peering-connection': 'routes',
  'create-route': 'routes',
  'replace-route': 'routes',
  'delete-route': 'routes',
  'associate-route-table': 'routes',
  'disassociate-route-table': 'routes',
  'replace-route-table-association': 'routes',
  'command-invocation-success': 'commands',
  // These API calls failed and therefore changed nothing.
  'run-instances-refused': undefined,
  'run-instances-dry-run': undefined,
  'create-route-refused': undefined,
  'state-change-stopped': undefined,
  'auto-scaling-terminate-lifecycle-action': undefined,
  // A launch hook can send this notification to a queue of its own instead of EventBridge, so no rule needs to match
  // it.
  'auto-scaling-test-notification': undefined,
  'command-invocation-in-progress': undefined,
  'command-invocation-foreign': undefined,
};

describe('each recorded event matches the rules of at most one queue', () => {
  test.each(Object.entries(expectedQueues))('%s: %s', (name, queue) => {
    expect(queuesFor(fixture(name))).toEqual(queue === undefined ? [] : [queue]);
  });

  test('every recorded event is in the table of expected queues', () => {
    const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
    expect(files.map((name) => name.replace('.json', '')).sort()).toEqual(Object.keys(expectedQueues).sort());
  });

  test.each(['Success', 'Failed', 'TimedOut', 'Cancelled', 'Undeliverable', 'Terminated'])(
    'the event for a finished command is sent to its queue: %s',
    (status) => {
      expect(queuesFor(changed('command-invocation-success', { status }))).toEqual(['commands']);
    },
  );

  test.each(['Pending', 'Delayed', 'InProgress', 'Cancelling'])(
    'the event for a running command is ignored: %s',
    (status) => {
      expect(queuesFor(changed('command-invocation-success', { status }))).toEqual([]);
    },
  );

  test.each([
    ['an API call that changes no route', changed('create-route', { eventName: 'CreateTags' })],
    [
      'an API call with the same name in another service',
      changed('create-route', { eventSource: 'apigateway.amazonaws.com' }),
    ],
    [
      'a command of another stage',
      changed('command-invocation-success', { 'document-name': 'peermasq-apply-dev' }),
    ],
    ['an event that was sent by an application', { ...fixture('state-change-running'), source: 'my.app' }],
  ])('%s matches no rule', (_, event) => {
    expect(queuesFor(event)).toEqual([]);
  });
});

test('events of other accounts and regions match no rule', () => {
  const pattern = restrictTo({ source: ['aws.ec2'] }, ['123456789012']);
  expect(pattern).toEqual({
    source: ['aws.ec2'],
    account: ['123456789012'],
    region: [{ Ref: 'AWS::Region' }],
  });
});
