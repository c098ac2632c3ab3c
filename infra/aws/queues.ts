import { arnOf, logicalId, ownArn, type Resource, type Resources } from './cloudformation';
import { resourceName, type Settings } from './settings';

/** The function that reads each queue. */
export const consumers = {
  nodes: 'node-joined',
  routes: 'peering-changed',
  commands: 'command-finished',
} as const;

export type QueueName = keyof typeof consumers;

export const queueNames = Object.keys(consumers) as readonly QueueName[];

/** @throws Error if no queue belongs to the function */
export function queueFeeding(name: string | undefined): QueueName {
  const queue = queueNames.find((one) => consumers[one] === name);
  if (queue) return queue;
  throw new Error(`No queue feeds ${name ?? 'this function'}: add it to consumers in infra/aws/queues.ts`);
}

/** The delivery delay of each queue. Results of commands are delayed, because node-joined reads most results itself. */
const delaySeconds = { nodes: 0, routes: 0, commands: 30 } as const;

/**
 * The number of deliveries after which SQS itself moves a message to the dead-letter queue. This is needed only for
 * messages that crash the function: once the objective has passed, the functions themselves send a message there, with
 * a reason. The number must be higher than the number of retries until then: a few in the first minute, and then one
 * per minute (functions/aws/runtime/retry-delay.ts).
 */
const maxReceiveCount = (objectiveMinutes: number): number => Math.max(20, objectiveMinutes + 10);

export interface QueueSettings {
  readonly name: QueueName;
  /** The function that reads the queue. */
  readonly consumer: string;
  /** The visibility timeout in seconds. */
  readonly visibilityTimeout: number;
  readonly delaySeconds: number;
  readonly maxReceiveCount: number;
}

/** @throws Error if serverless.yml does not contain the function of a queue */
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

/**
 * Returns the timeout in seconds: six times the function's timeout, plus its batch window (Lambda developer guide,
 * SQS).
 */
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
        // The period starts when the message is first sent. The first queue keeps a message for up to four days.
        MessageRetentionPeriod: fourteenDays,
        // The ARNs are built from names: the queues refer to this queue, so references to them would be circular.
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
