import type { NodesJoined } from '../../../shared/aws/events/event';

const maxDelaySeconds = 60;

/**
 * A burst is delayed by one second for each of this many messages. Messages with the same delay arrive in one batch,
 * and a batch of a thousand nodes takes about fifty API calls.
 */
const burstPerSecond = 12;

interface Attempt {
  readonly requestedSeconds: number;
  /** How many times the message has been delivered, including this time. */
  readonly attempt: number;
  /** The number of messages in the batch that are retried. */
  readonly burstSize: number;
}

/**
 * Returns the delay before a message is delivered again. The delay doubles with each attempt, and is longer in a
 * burst.
 * @returns whole seconds
 */
export function retryDelaySeconds({ requestedSeconds, attempt, burstSize }: Attempt): number {
  const backoff = requestedSeconds * 2 ** Math.min(attempt - 1, 10);
  const delay = Math.max(backoff, burstSize / burstPerSecond);
  return Math.ceil(Math.max(1, requestedSeconds, Math.min(maxDelaySeconds, delay)));
}

/**
 * The delay before an event is handled. EC2 announces each node several times. The event for the running state is
 * handled immediately. The other events are only a fallback in case that event was lost, and are delayed so that two
 * batches do not push to the same node.
 */
const gracePeriodSeconds: Readonly<Record<NodesJoined['trigger'], number>> = {
  'instance-running': 0,
  'launch-hook': 15,
  'run-instances': 90,
  'auto-scaling-launch': 90,
};

/**
 * Returns the seconds until an event is due, or zero if it is due now. Only the first delivery of an event is delayed.
 */
export function secondsUntilDue({ trigger, at }: NodesJoined, attempt: number): number {
  if (attempt > 1) return 0;
  const gracePeriod = gracePeriodSeconds[trigger];
  const age = (Date.now() - at.getTime()) / 1_000;
  return Math.min(gracePeriod, Math.max(0, gracePeriod - age));
}
