import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { subscriptions, restrictTo } from '../../../infra/aws/patterns';
import { matchesPattern } from '../../lab/aws/event-pattern';

type Json = Record<string, unknown>;

const folder = join(__dirname, '../../events/aws');
const fixture = (name: string): Json =>
  JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as Json;

/** An event with other details. */
const changed = (name: string, detail: Json): Json => {
  const event = fixture(name);
  return { ...event, detail: { ...(event['detail'] as Json), ...detail } };
};

const queuesFor = (event: Json) =>
  subscriptions('prod')
    .filter(({ pattern }) => matchesPattern(pattern, event))
    .map(({ queue }) => queue);

/** The queue of each event. */
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
  // Failed calls change nothing.
  'run-instances-refused': undefined,
  'run-instances-dry-run': undefined,
  'create-route-refused': undefined,
  'state-change-stopped': undefined,
  'auto-scaling-terminate-lifecycle-action': undefined,
  // A hook may have its own queue; EventBridge does not receive this.
  'auto-scaling-test-notification': undefined,
  'command-invocation-in-progress': undefined,
  'command-invocation-foreign': undefined,
};

describe('each event matches one queue or none', () => {
  test.each(Object.entries(expectedQueues))('%s: %s', (name, queue) => {
    expect(queuesFor(fixture(name))).toEqual(queue === undefined ? [] : [queue]);
  });

  test('every recorded event is covered', () => {
    const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
    expect(files.map((name) => name.replace('.json', '')).sort()).toEqual(Object.keys(expectedQueues).sort());
  });

  test.each(['Success', 'Failed', 'TimedOut', 'Cancelled', 'Undeliverable', 'Terminated'])(
    'a finished command: %s',
    (status) => {
      expect(queuesFor(changed('command-invocation-success', { status }))).toEqual(['commands']);
    },
  );

  test.each(['Pending', 'Delayed', 'InProgress', 'Cancelling'])('a running command: %s', (status) => {
    expect(queuesFor(changed('command-invocation-success', { status }))).toEqual([]);
  });

  test.each([
    ['a call that changes no route', changed('create-route', { eventName: 'CreateTags' })],
    [
      'a call of another service by the same name',
      changed('create-route', { eventSource: 'apigateway.amazonaws.com' }),
    ],
    [
      "another stage's command",
      changed('command-invocation-success', { 'document-name': 'peermasq-apply-dev' }),
    ],
    ['an event of an application', { ...fixture('state-change-running'), source: 'my.app' }],
  ])('%s goes nowhere', (_, event) => {
    expect(queuesFor(event)).toEqual([]);
  });
});

test('events of other accounts and regions are not accepted', () => {
  const pattern = restrictTo({ source: ['aws.ec2'] }, ['123456789012']);
  expect(pattern).toEqual({
    source: ['aws.ec2'],
    account: ['123456789012'],
    region: [{ Ref: 'AWS::Region' }],
  });
});
