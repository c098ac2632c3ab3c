import type { NodesJoined } from '../../../shared/aws/events/event';

const maxDelaySeconds = 60;

/**
 * Messages per second of delay. A batch of a thousand nodes takes some fifty calls, and messages that are delayed
 * equally arrive in one batch.
 */
const burstPerSecond = 12;

interface Attempt {
  readonly requestedSeconds: number;
  /** Deliveries so far, this one included. */
  readonly attempt: number;
  /** Messages of the batch that are retried. */
  readonly burstSize: number;
}

/**
 * The delay before a message is delivered again: doubled with each attempt, and longer in a burst.
 * @returns whole seconds
 */
export function retryDelaySeconds({ requestedSeconds, attempt, burstSize }: Attempt): number {
  const backoff = requestedSeconds * 2 ** Math.min(attempt - 1, 10);
  const delay = Math.max(backoff, burstSize / burstPerSecond);
  return Math.ceil(Math.max(1, requestedSeconds, Math.min(maxDelaySeconds, delay)));
}

/**
 * Delay before an event is handled. EC2 announces each node several times; the running event is handled at once, and
 * the others only in case it was lost, because two batches would push to the same node.
 */
const gracePeriodSeconds: Readonly<Record<NodesJoined['trigger'], number>> = {
  'instance-running': 0,
  'launch-hook': 15,
  'run-instances': 90,
  'auto-scaling-launch': 90,
};

/** Zero when the event is due. Only its first delivery is delayed. */
export function secondsUntilDue({ trigger, at }: NodesJoined, attempt: number): number {
  if (attempt > 1) return 0;
  const gracePeriod = gracePeriodSeconds[trigger];
  const age = (Date.now() - at.getTime()) / 1_000;
  return Math.min(gracePeriod, Math.max(0, gracePeriod - age));
}
