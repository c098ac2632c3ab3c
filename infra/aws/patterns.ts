/** An event pattern: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html */
export type Pattern = Readonly<Record<string, unknown>>;

export interface Subscription {
  readonly name: string;
  readonly pattern: Pattern;
}

/** Which events go to the queue. */
export const subscriptions: readonly Subscription[] = [
  {
    name: 'instances-started',
    // EventBridge hears of API calls through a trail of CloudTrail only. A call that failed started nothing.
    pattern: {
      source: ['aws.ec2'],
      'detail-type': ['AWS API Call via CloudTrail'],
      detail: {
        eventSource: ['ec2.amazonaws.com'],
        eventName: ['RunInstances'],
        errorCode: [{ exists: false }],
      },
    },
  },
  {
    name: 'instance-running',
    pattern: {
      source: ['aws.ec2'],
      'detail-type': ['EC2 Instance State-change Notification'],
      detail: { state: ['running'] },
    },
  },
];
