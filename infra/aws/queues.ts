import { arnOf, logicalId, ownArn, type Resource, type Resources } from './cloudformation';
import { named, type Settings } from './settings';

/** Each queue: the function that it feeds, seconds of delay, and deliveries before the dead-letter queue. */
const queues = {
  // A node whose agent is not online yet goes back again and again until the function gives it up.
  nodes: { consumer: 'node-joined', delay: 0, deliveries: 15 },
  // A peering is made in several calls; after a minute they are through, and looked at once.
  changes: { consumer: 'peering-changed', delay: 60, deliveries: 5 },
  commands: { consumer: 'command-finished', delay: 0, deliveries: 5 },
} as const;

export type QueueName = keyof typeof queues;

export const queueNames: readonly QueueName[] = ['nodes', 'changes', 'commands'];

export const consumerOf = (queue: QueueName): string => queues[queue].consumer;

export const queueId = (name: QueueName): string => `${logicalId(name)}Queue`;
export const deadLetters = 'DeadLetterQueue';

const fourteenDays = 1_209_600;

export function queueResources(settings: Settings): Resources {
  return {
    ...Object.fromEntries(queueNames.map((name) => [queueId(name), queue(name, settings)])),
    [deadLetters]: {
      Type: 'AWS::SQS::Queue',
      Properties: {
        QueueName: named(settings, 'dead-letters'),
        SqsManagedSseEnabled: true,
        MessageRetentionPeriod: fourteenDays,
        // Written out, because the queues refer to this one.
        RedriveAllowPolicy: {
          redrivePermission: 'byQueue',
          sourceQueueArns: queueNames.map((name) => ownArn('sqs', named(settings, name))),
        },
      },
    },
  };
}

function queue(name: QueueName, settings: Settings): Resource {
  const { consumer, delay, deliveries } = queues[name];
  return {
    Type: 'AWS::SQS::Queue',
    Properties: {
      QueueName: named(settings, name),
      SqsManagedSseEnabled: true,
      DelaySeconds: delay,
      VisibilityTimeout: visibility(consumer, settings),
      RedrivePolicy: { deadLetterTargetArn: arnOf(deadLetters), maxReceiveCount: deliveries },
    },
  };
}

/** Seconds: six times the function's timeout, and its batch window (Lambda developer guide, SQS). */
function visibility(consumer: string, { functions }: Settings): number {
  const { timeout, events } = functions[consumer] ?? missing(consumer);
  const [window = 0] = events.flatMap(({ sqs }) => sqs?.maximumBatchingWindow ?? []);
  return 6 * timeout + window;
}

function missing(name: string): never {
  throw new Error(`serverless.yml has no function ${name}, which a queue is meant for`);
}
