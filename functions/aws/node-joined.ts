import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { launchLifecycleAction, launchSuccessful } from '../../shared/aws/events/auto-scaling-launch';
import type { NodesJoined } from '../../shared/aws/events/event';
import { instanceStateChanged } from '../../shared/aws/events/instance-state-changed';
import { runInstances } from '../../shared/aws/events/run-instances';
import { definedOnly, groupBy } from '../../shared/core/util/collections';
import { PeermasqError } from '../../shared/core/model/errors';
import { nodeKey, type AwsNodeRef, type NodeKey } from '../../shared/core/model/node';
import { reasonOf, retryAfterSeconds, type Outcome } from '../../shared/core/reconcile/outcome';
import { reconcile } from '../../shared/core/reconcile/reconcile';
import { accountFor, log } from './runtime/accounts';
import {
  handleBatch,
  type BatchContext,
  type Disposition,
  type QueuedEvent,
  type Retry,
} from './runtime/batch';
import { completeHeldLaunch } from './runtime/launch-gate';
import { writeNodeMetrics } from './runtime/metrics';
import { secondsUntilDue } from './runtime/retry-delay';

const parsers = [instanceStateChanged, runInstances, launchLifecycleAction, launchSuccessful];

/** Handles events about instances that were started or launched. All nodes of a batch are reconciled together. */
export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  return handleBatch({ functionName: 'node-joined', parsers, handleEvents }, event, context);
}

type JoinEvent = QueuedEvent<NodesJoined>;

async function handleEvents(queuedEvents: readonly JoinEvent[], batch: BatchContext): Promise<Disposition[]> {
  for (const { event, message } of queuedEvents) {
    const { trigger, nodes } = event;
    const ids = nodes.map(({ id }) => id);
    log.info('NodeJoined', { cloud: 'aws', messageId: message.messageId, trigger, nodes: ids });
  }
  // Computed once, before reconciling. An event that becomes due later is retried, not handled in this batch.
  const dueIn = new Map(queuedEvents.map((one) => [one, secondsUntilDue(one.event, one.attempt)]));
  const due = queuedEvents.filter((queuedEvent) => dueIn.get(queuedEvent) === 0);
  const results = await reconcileNodes(due, batch);
  writeNodeMetrics(
    [...results.values()].map(({ outcome }) => outcome),
    eventTimes(due, 'first'),
  );
  const dispositions: Disposition[] = [];
  // Handled one after another, because Auto Scaling allows few calls at a time.
  for (const queuedEvent of queuedEvents) {
    const seconds = dueIn.get(queuedEvent) ?? 0;
    dispositions.push(seconds > 0 ? notDueYet(seconds) : await dispositionOf(queuedEvent, results, batch));
  }
  return dispositions;
}

const notDueYet = (seconds: number): Retry => ({
  kind: 'retry',
  seconds,
  reason: 'the event is still within its grace period',
});

/** Returns when each node was announced: for the first time, or for the last time. */
function eventTimes(queuedEvents: readonly JoinEvent[], which: 'first' | 'last'): Map<NodeKey, Date> {
  const ascending = queuedEvents.toSorted((a, b) => a.event.at.getTime() - b.event.at.getTime());
  // If a key occurs more than once, a Map keeps the last entry.
  const ordered = which === 'last' ? ascending : ascending.toReversed();
  return new Map(
    ordered.flatMap(({ event: { nodes, at } }) => nodes.map((node) => [nodeKey(node), at] as const)),
  );
}

interface NodeResult {
  readonly outcome: Outcome;
  /** The delay before the next attempt. Absent if a retry would not change the outcome. */
  readonly retrySeconds?: number;
}

/** Reconciles each account separately, so that an error in one account does not affect the others. */
async function reconcileNodes(
  queuedEvents: readonly JoinEvent[],
  { location, deadline }: BatchContext,
): Promise<Map<NodeKey, NodeResult>> {
  const refs = queuedEvents.flatMap(({ event }) => event.nodes);
  const announcedAt = eventTimes(queuedEvents, 'last');
  const reconciling = [...groupBy(refs, ({ account }) => account)].map(async ([account, nodes]) => {
    try {
      const dependencies = accountFor(account, location);
      const { outcomes, errors } = await reconcile(nodes, dependencies, { deadline, announcedAt });
      return outcomes.map((outcome) => toResult(outcome, errors));
    } catch (error) {
      if (!(error instanceof PeermasqError)) throw error;
      return nodes.map((node) => toResult({ node, kind: 'failed', error }, [error]));
    }
  });
  const results = (await Promise.all(reconciling)).flat();
  return new Map(results.map((result) => [nodeKey(result.outcome.node), result]));
}

/**
 * An error that affects all nodes of an account is retried, because it may be fixed while the message waits. A
 * permanent error on one node is not retried.
 */
const sharedErrorRetrySeconds = 30;

function toResult(outcome: Outcome, errors: readonly PeermasqError[]): NodeResult {
  const isShared = outcome.kind === 'failed' && errors.includes(outcome.error);
  const retrySeconds = retryAfterSeconds(outcome) ?? (isShared ? sharedErrorRetrySeconds : undefined);
  return definedOnly({ outcome, retrySeconds });
}

async function dispositionOf(
  { event, isOverdue }: JoinEvent,
  results: ReadonlyMap<NodeKey, NodeResult>,
  batch: BatchContext,
): Promise<Disposition> {
  const ownResults = event.nodes.map((node) => results.get(nodeKey(node)) ?? notReconciled(node));
  const open = ownResults.filter(({ retrySeconds }) => retrySeconds !== undefined);
  if (open.length > 0 && !isOverdue) return retryLater(open);
  const ownOutcomes = ownResults.map(({ outcome }) => outcome);
  const launchRetry = await completeHeldLaunch(event, ownOutcomes, batch);
  if (launchRetry && !isOverdue) return launchRetry;
  for (const { outcome } of open) logTimedOut(outcome);
  const reasons = open.map(toReason);
  if (launchRetry) reasons.push(launchRetry.reason);
  return reasons.length > 0 ? { kind: 'dead-letter', reason: reasons.join('; ') } : { kind: 'done' };
}

/**
 * Returns the result for a node that has no outcome, whose state is therefore unknown. This should never happen,
 * because reconcile returns an outcome for each node.
 */
const notReconciled = (node: AwsNodeRef): NodeResult => ({
  outcome: { node, kind: 'pending', reason: 'not reconciled', retryAfterSeconds: 5 },
  retrySeconds: 5,
});

function retryLater(open: readonly NodeResult[]): Retry {
  const seconds = Math.min(...open.map(({ retrySeconds = 0 }) => retrySeconds));
  return { kind: 'retry', seconds, reason: open.map(toReason).join('; ') };
}

function logTimedOut(outcome: Outcome): void {
  const { node, cluster } = outcome;
  log.error('NodeTimedOut', { cloud: 'aws', node: node.id, cluster, reason: reasonOf(outcome) });
}

const toReason = ({ outcome }: NodeResult): string => `${nodeKey(outcome.node)}: ${reasonOf(outcome)}`;
