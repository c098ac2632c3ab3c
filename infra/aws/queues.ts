import { arnOf, ownArn, type Resources } from './cloudformation';
import { named, type Settings } from './settings';

export const nodesQueue = 'NodesQueue';
export const deadLetters = 'DeadLetterQueue';

/** The function that the queue feeds. */
export const consumer = 'node-joined';

const fourteenDays = 1_209_600;

export function queueResources(settings: Settings): Resources {
  return {
    [nodesQueue]: {
      Type: 'AWS::SQS::Queue',
      Properties: {
        QueueName: named(settings, 'nodes'),
        SqsManagedSseEnabled: true,
        VisibilityTimeout: visibility(settings),
        // A node whose agent is not online yet goes back, and comes again after the visibility timeout.
        RedrivePolicy: { deadLetterTargetArn: arnOf(deadLetters), maxReceiveCount: 15 },
      },
    },
    [deadLetters]: {
      Type: 'AWS::SQS::Queue',
      Properties: {
        QueueName: named(settings, 'dead-letters'),
        SqsManagedSseEnabled: true,
        MessageRetentionPeriod: fourteenDays,
        // Written out, because that queue refers to this one.
        RedriveAllowPolicy: {
          redrivePermission: 'byQueue',
          sourceQueueArns: [ownArn('sqs', named(settings, 'nodes'))],
        },
      },
    },
  };
}

/** Seconds: six times the function's timeout, and its batch window (Lambda developer guide, SQS). */
function visibility({ functions }: Settings): number {
  const feeds = functions[consumer];
  if (!feeds) throw new Error(`serverless.yml has no function ${consumer}, which the queue is meant for`);
  const [window = 0] = feeds.events.flatMap(({ sqs }) => sqs?.maximumBatchingWindow ?? []);
  return 6 * feeds.timeout + window;
}
