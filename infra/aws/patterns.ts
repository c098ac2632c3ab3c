import { routeCalls } from '../../shared/aws/events/routes-changed';
import { documentName } from '../../shared/aws/names';
import { region } from './cloudformation';
import type { QueueName } from './queues';

/** An event pattern (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html). */
export type Pattern = Readonly<Record<string, unknown>>;

/**
 * Matches successful API calls, because a failed call changed nothing. EventBridge receives API calls only through a
 * CloudTrail trail.
 */
const apiCall = (...eventName: string[]): Pattern => ({
  source: ['aws.ec2'],
  'detail-type': ['AWS API Call via CloudTrail'],
  detail: { eventSource: ['ec2.amazonaws.com'], eventName, errorCode: [{ exists: false }] },
});

export interface Subscription {
  readonly name: string;
  readonly queue: QueueName;
  readonly pattern: Pattern;
}

/** Returns the patterns of the events that are sent to each queue. */
export const subscriptions = (stage: string): readonly Subscription[] => [
  { name: 'instances-started', queue: 'nodes', pattern: apiCall('RunInstances') },
  {
    name: 'instance-running',
    queue: 'nodes',
    pattern: {
      source: ['aws.ec2'],
      'detail-type': ['EC2 Instance State-change Notification'],
      detail: { state: ['running'] },
    },
  },
  {
    name: 'instance-launched',
    queue: 'nodes',
    pattern: {
      source: ['aws.autoscaling'],
      'detail-type': ['EC2 Instance-launch Lifecycle Action', 'EC2 Instance Launch Successful'],
    },
  },
  {
    name: 'peering-changed',
    queue: 'routes',
    pattern: apiCall(...routeCalls),
  },
  {
    name: 'command-finished',
    queue: 'commands',
    pattern: {
      source: ['aws.ssm'],
      'detail-type': ['EC2 Command Invocation Status-change Notification'],
      detail: {
        'document-name': [documentName(stage)],
        status: [{ 'anything-but': ['Pending', 'Delayed', 'InProgress', 'Cancelling'] }],
      },
    },
  },
];

/**
 * Restricts a pattern to the stack's own accounts and region. A bus may also carry other events, which this stack
 * does not handle.
 */
export const restrictTo = (pattern: Pattern, accounts: readonly unknown[]): Pattern => ({
  ...pattern,
  account: accounts,
  region: [region],
});
