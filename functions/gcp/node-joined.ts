import type { CloudEvent } from '@google-cloud/functions-framework';
import { RetryableError } from '../../shared/core/model/errors';
import { nodeKey, type NodeRef } from '../../shared/core/model/node';
import { logEntry, retryAfterSeconds, type Outcome } from '../../shared/core/reconcile/outcome';
import type { Deadline } from '../../shared/core/cloud';
import { reconcileOrThrow } from '../../shared/core/reconcile/reconcile';
import { poll } from '../../shared/core/util/poll';
import { parseEvent } from '../../shared/gcp/events/parse-event';
import { acknowledgePermanent, invocationDeadline, withCallCounts } from './runtime/invocation';
import { dependencies, settings } from './runtime/projects';

/**
 * If an instance is not proven within this time after the event, the event is acknowledged and the reason is logged.
 */
const giveUpAfterMs = 30 * 60_000;

/**
 * Handles an audit log entry about an instance insert. The first of an insert's two entries arrives before the VM
 * boots, and the rules must be in the metadata when the VM's startup script runs. Returning acknowledges the event;
 * throwing causes a redelivery.
 */
export const nodeJoined = withCallCounts(async (cloudEvent: CloudEvent<unknown>): Promise<void> => {
  const { log } = dependencies;
  const event = parseEvent(cloudEvent, settings.projects);
  const { id: eventId } = cloudEvent;
  if (event.kind !== 'nodes-joined') {
    const reason = event.kind === 'ignored' ? event.reason : `another function handles ${event.kind}`;
    log.info('EventIgnored', { cloud: 'gcp', eventId, reason });
    return;
  }
  const { trigger, nodes, at } = event;
  log.info('NodeJoined', { cloud: 'gcp', eventId, trigger, nodes: nodes.map(({ id }) => id) });
  const isOverdue = Date.now() - at.getTime() > giveUpAfterMs;
  const reconcile = isOverdue ? reconcileLastTime : reconcileNodes;
  const outcomes = await acknowledgePermanent(() => reconcile(nodes, invocationDeadline()));
  const open = outcomes?.filter((outcome) => retryAfterSeconds(outcome) !== undefined) ?? [];
  if (open.length === 0) return;
  if (!isOverdue) throw notProvenYet(open);
  logGaveUp(open);
});

async function reconcileNodes(nodes: readonly NodeRef[], deadline: Deadline): Promise<readonly Outcome[]> {
  const outcomes = await reconcileOrThrow(nodes, dependencies, { deadline });
  if (!outcomes.some(isAbsent)) return outcomes;
  await waitUntilVisible(nodes, deadline);
  return reconcileOrThrow(nodes, dependencies, { deadline });
}

/**
 * Reconciles the nodes of an event that will not be redelivered. A retryable error is therefore returned as the
 * outcome of each node, instead of thrown.
 */
async function reconcileLastTime(nodes: readonly NodeRef[], deadline: Deadline): Promise<readonly Outcome[]> {
  try {
    return await reconcileNodes(nodes, deadline);
  } catch (error) {
    if (!(error instanceof RetryableError)) throw error;
    return nodes.map((node) => ({ node, kind: 'failed', error }));
  }
}

const isAbsent = (outcome: Outcome): boolean => outcome.kind === 'pending' && outcome.isAbsent === true;

/**
 * How long to wait for a new instance to become visible. The audit log entry about the start of the insert may arrive
 * before the instance is visible, and a redelivered entry would arrive only after the VM has booted.
 */
const visibilityTimeoutMs = 15_000;

async function waitUntilVisible(nodes: readonly NodeRef[], deadline: Deadline): Promise<void> {
  const allVisible = async () => {
    const found = await dependencies.cloud.nodes.get(nodes, deadline);
    return found.length < nodes.length ? undefined : true;
  };
  await poll(allVisible, {
    firstPauseMs: 300,
    maxPauseMs: 5_000,
    deadline: Math.min(deadline, Date.now() + visibilityTimeoutMs),
  });
}

function logGaveUp(outcomes: readonly Outcome[]): void {
  for (const outcome of outcomes) {
    const { fields } = logEntry(outcome, Date.now());
    dependencies.log.error('NodeTimedOut', { ...fields, retryAfterSeconds: undefined });
  }
}

function notProvenYet(outcomes: readonly Outcome[]): RetryableError {
  const nodes = outcomes.map(({ node }) => nodeKey(node)).join(', ');
  const seconds = Math.min(...outcomes.map((outcome) => retryAfterSeconds(outcome) ?? Infinity));
  return new RetryableError('not-proven-yet', `Not proven yet: ${nodes}`, {
    advice: 'The event is redelivered.',
    retryAfterSeconds: seconds,
  });
}
