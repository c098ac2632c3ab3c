import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { subscriptions, within } from '../../../infra/aws/patterns';
import { matches } from './matches';

type Json = Record<string, unknown>;

const fixture = (name: string): Json =>
  JSON.parse(readFileSync(join(__dirname, '../../events/aws', `${name}.json`), 'utf8')) as Json;

const started = fixture('run-instances');

/** A call of the EC2 API, as CloudTrail tells it. */
const call = (eventName: string, detail: Json = {}): Json => ({
  ...started,
  detail: { ...(started['detail'] as Json), eventName, ...detail },
});

/** https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-event-reference.html */
const autoScaling = (detailType: string): Json => ({
  ...started,
  source: 'aws.autoscaling',
  'detail-type': detailType,
  detail: {
    AutoScalingGroupName: 'workers',
    EC2InstanceId: 'i-1234567890abcdef0',
    Origin: 'EC2',
    Destination: 'AutoScalingGroup',
  },
});

/** https://docs.aws.amazon.com/systems-manager/latest/userguide/monitoring-systems-manager-event-examples.html */
const command = (document: string, status: string): Json => ({
  ...started,
  source: 'aws.ssm',
  'detail-type': 'EC2 Command Invocation Status-change Notification',
  detail: {
    'command-id': 'e8d3c0e4-71f7-4491-898f-c9b35bee5f3b',
    'document-name': document,
    'instance-id': 'i-1234567890abcdef0',
    'requested-date-time': '2016-07-10T21:51:30.049Z',
    status,
  },
});

const queuesFor = (event: Json) =>
  subscriptions('prod')
    .filter(({ pattern }) => matches(pattern, event))
    .map(({ queue }) => queue);

describe('an event goes to one queue', () => {
  test.each([
    ['an instance is running', fixture('state-change-running'), 'nodes'],
    ['instances were started', started, 'nodes'],
    ['a launch waits for its hook', autoScaling('EC2 Instance-launch Lifecycle Action'), 'nodes'],
    ['a launch succeeded', autoScaling('EC2 Instance Launch Successful'), 'nodes'],
    ...[
      'CreateVpcPeeringConnection',
      'AcceptVpcPeeringConnection',
      'DeleteVpcPeeringConnection',
      'CreateRoute',
      'ReplaceRoute',
      'DeleteRoute',
      'AssociateRouteTable',
      'DisassociateRouteTable',
      'ReplaceRouteTableAssociation',
    ].map((name): [string, Json, string] => [name, call(name), 'changes']),
    ...['Success', 'Failed', 'TimedOut', 'Cancelled', 'Undeliverable', 'Terminated'].map(
      (status): [string, Json, string] => [
        `a command: ${status}`,
        command('peermasq-apply-prod', status),
        'commands',
      ],
    ),
  ])('%s', (_, event, queue) => {
    expect(queuesFor(event)).toEqual([queue]);
  });
});

describe('an event goes nowhere', () => {
  test.each([
    ['an instance has stopped', fixture('state-change-stopped')],
    ['RunInstances was refused', fixture('run-instances-refused')],
    ['RunInstances was a dry run', fixture('run-instances-dry-run')],
    ['a call that changes no route', call('CreateTags')],
    [
      'a call for a route that was refused',
      call('CreateRoute', { errorCode: 'Client.UnauthorizedOperation' }),
    ],
    ['a call of another service', call('RunInstances', { eventSource: 'lightsail.amazonaws.com' })],
    ['an instance was taken out of its group', autoScaling('EC2 Instance Terminate Successful')],
    ["somebody else's command", command('AWS-RunShellScript', 'Success')],
    ["another stage's command", command('peermasq-apply-dev', 'Success')],
    ['a command goes on', command('peermasq-apply-prod', 'InProgress')],
    ['an event of an application', { ...fixture('state-change-running'), source: 'my.app' }],
  ])('%s', (_, event) => {
    expect(queuesFor(event)).toEqual([]);
  });
});

test('events of other accounts and regions are not taken', () => {
  const pattern = within({ source: ['aws.ec2'] }, ['123456789012']);
  expect(pattern).toEqual({
    source: ['aws.ec2'],
    account: ['123456789012'],
    region: [{ Ref: 'AWS::Region' }],
  });
});
