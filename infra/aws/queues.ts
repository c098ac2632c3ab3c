import { arnOf, logicalId, ownArn, type Resource, type Resources } from './cloudformation';
import { resourceName, type Settings } from './settings';

/** Each queue and its function. */
export const consumers = {
  nodes: 'node-joined',
  routes: 'peering-changed',
  commands: 'command-finished',
} as const;

export type QueueName = keyof typeof consumers;

export const queueNames = Object.keys(consumers) as readonly QueueName[];

/** @throws Error when the function has no queue */
export function queueFeeding(name: string | undefined): QueueName {
  const queue = queueNames.find((one) => consumers[one] === name);
  if (queue) return queue;
  throw new Error(`No queue feeds ${name ?? 'it'}: say in infra/aws/queues.ts which one does`);
}

/** Delayed, because node-joined reads most results itself. */
const delaySeconds = { nodes: 0, routes: 0, commands: 30 } as const;

/**
 * The functions send a message to the dead-letter queue themselves, with a reason, once the objective has passed; this limit is
 * for messages that crash the function. It must exceed the number of retries until then: a few in the first minute, then one
 * a minute (functions/aws/runtime/retry-delay.ts).
 */
const maxReceiveCount = (objectiveMinutes: number): number => Math.max(20, objectiveMinutes + 10);

export interface QueueSettings {
  readonly name: QueueName;
  /** The function that reads it. */
  readonly consumer: string;
  /** Seconds. */
  readonly visibilityTimeout: number;
  readonly delaySeconds: number;
  readonly maxReceiveCount: number;
}

/** @throws Error when serverless.yml lacks the function of a queue */
export function queueSettings({
  functions,
  objectiveMinutes,
}: Pick<Settings, 'functions' | 'objectiveMinutes'>): QueueSettings[] {
  return queueNames.map((name) => ({
    name,
    consumer: consumers[name],
    visibilityTimeout: visibilityTimeoutOf(consumers[name], functions),
    delaySeconds: delaySeconds[name],
    maxReceiveCount: maxReceiveCount(objectiveMinutes),
  }));
}

/** Seconds: six times the function's timeout plus its batch window (Lambda developer guide, SQS). */
function visibilityTimeoutOf(consumer: string, functions: Settings['functions']): number {
  const feeds = functions[consumer];
  if (!feeds) throw new Error(`serverless.yml has no function ${consumer}, which should read a queue`);
  const [window = 0] = feeds.events.flatMap(({ sqs }) => sqs?.maximumBatchingWindow ?? []);
  return 6 * feeds.timeout + window;
}

export const queueId = (name: QueueName): string => `${logicalId(name)}Queue`;
export const deadLetterQueueId = 'DeadLetterQueue';

const fourteenDays = 1_209_600;

export function queueResources(settings: Settings): Resources {
  return {
    ...Object.fromEntries(queueSettings(settings).map((each) => [queueId(each.name), queue(each, settings)])),
    [deadLetterQueueId]: {
      Type: 'AWS::SQS::Queue',
      Properties: {
        QueueName: resourceName(settings, 'dead-letters'),
        SqsManagedSseEnabled: true,
        // SQS counts from when the message was first sent; its first queue keeps it for up to four days.
        MessageRetentionPeriod: fourteenDays,
        // Built from names: the queues refer to this one, so references would be circular.
        RedriveAllowPolicy: {
          redrivePermission: 'byQueue',
          sourceQueueArns: queueNames.map((name) => ownArn('sqs', resourceName(settings, name))),
        },
      },
    },
  };
}

function queue(each: QueueSettings, settings: Settings): Resource {
  return {
    Type: 'AWS::SQS::Queue',
    Properties: {
      QueueName: resourceName(settings, each.name),
      SqsManagedSseEnabled: true,
      DelaySeconds: each.delaySeconds,
      VisibilityTimeout: each.visibilityTimeout,
      RedrivePolicy: { deadLetterTargetArn: arnOf(deadLetterQueueId), maxReceiveCount: each.maxReceiveCount },
    },
  };
}
