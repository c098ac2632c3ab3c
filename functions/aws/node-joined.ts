import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import type { ParsedEvent } from '../../shared/aws/events/parse-event';
import { groupBy } from '../../shared/core/util/collections';
import { PeermasqError } from '../../shared/core/model/errors';
import { nodeKey, type AwsNodeRef, type NodeKey } from '../../shared/core/model/node';
import { reasonOf, retryAfterSeconds, type Outcome } from '../../shared/core/reconcile/outcome';
import { reconcile } from '../../shared/core/reconcile/reconcile';
import { accountFor, log } from './runtime/accounts';
import { handleBatch, type BatchContext, type Disposition, type QueuedEvent } from './runtime/batch';
import { completeHeldLaunch } from './runtime/launch-gate';
import { writeNodeMetrics } from './runtime/metrics';

type NodesJoined = Extract<ParsedEvent, { kind: 'nodes-joined' }>;

/**
 * Nodes that joined: instances that were started, run, or were launched by an Auto Scaling group. All nodes of
 * a batch are one set, looked at once.
 */
export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  return handleBatch('node-joined', 'nodes-joined', event, context, handleEvents);
}

/**
 * Seconds that an event is young. An instance tells that it runs, and is served by that; what else tells of it is
 * there in case that is lost, and would only make two batches serve the same node at once.
 */
const gracePeriodSeconds = { running: 0, held: 15, started: 90, launched: 90 } as const;

async function handleEvents(
  queuedEvents: readonly QueuedEvent<NodesJoined>[],
  batch: BatchContext,
): Promise<Disposition[]> {
  for (const { event, message } of queuedEvents) {
    const nodes = event.nodes.map(({ id }) => id);
    log.info('NodeJoined', { cloud: 'aws', messageId: message.messageId, by: event.by, nodes });
  }
  // Asked once: what ripens during the look was not looked at.
  const dueIn = new Map(queuedEvents.map((queuedEvent) => [queuedEvent, secondsUntilDue(queuedEvent)]));
  const due = queuedEvents.filter((queuedEvent) => dueIn.get(queuedEvent) === 0);
  const results = await reconcileNodes(due, batch);
  writeNodeMetrics(
    [...results.values()].map(({ outcome }) => outcome),
    eventTimes(due, 'first'),
  );
  const dispositions: Disposition[] = [];
  // One after the other: Auto Scaling bears few calls at once.
  for (const queuedEvent of queuedEvents) {
    const seconds = dueIn.get(queuedEvent) ?? 0;
    dispositions.push(seconds > 0 ? notDueYet(seconds) : await dispositionOf(queuedEvent, results, batch));
  }
  return dispositions;
}

const notDueYet = (seconds: number): Disposition => ({
  kind: 'retry',
  seconds,
  reason: 'It is told of before it can be reached.',
});

/** Only at its first delivery is an event too young. */
function secondsUntilDue({ event, attempt }: QueuedEvent<NodesJoined>): number {
  if (attempt > 1) return 0;
  const gracePeriod = gracePeriodSeconds[event.by];
  return Math.min(gracePeriod, Math.max(0, gracePeriod - (Date.now() - event.at.getTime()) / 1_000));
}

/** When each node was told of, for the first or the last time. */
function eventTimes(
  queuedEvents: readonly QueuedEvent<NodesJoined>[],
  which: 'first' | 'last',
): Map<NodeKey, Date> {
  const inOrder = queuedEvents.toSorted((a, b) => a.event.at.getTime() - b.event.at.getTime());
  // Of a key that comes twice, a map keeps the later one.
  const kept = which === 'last' ? inOrder : inOrder.toReversed();
  return new Map(
    kept.flatMap(({ event: { nodes, at } }) => nodes.map((node) => [nodeKey(node), at] as const)),
  );
}

interface NodeResult {
  readonly outcome: Outcome;
  /** Seconds after which to look again, if that can change anything. */
  readonly retrySeconds?: number;
}

/** One pass for each account. A fault in one does not keep the others from their rules. */
async function reconcileNodes(
  queuedEvents: readonly QueuedEvent<NodesJoined>[],
  { location, deadline }: BatchContext,
): Promise<Map<NodeKey, NodeResult>> {
  const refs = queuedEvents.flatMap(({ event }) => event.nodes);
  const announcedAt = eventTimes(queuedEvents, 'last');
  const reconciling = [...groupBy(refs, ({ account }) => account)].map(async ([account, nodes]) => {
    try {
      const { outcomes, errors } = await reconcile(nodes, accountFor(account, location), {
        deadline,
        announcedAt,
      });
      return outcomes.map((outcome) => toResult(outcome, errors));
    } catch (error) {
      if (!(error instanceof PeermasqError)) throw error;
      return nodes.map((node) => toResult({ node, kind: 'failed', error }, [error]));
    }
  });
  const results = (await Promise.all(reconciling)).flat();
  return new Map(results.map((result) => [nodeKey(result.outcome.node), result]));
}

/** A fault that concerns all nodes may be mended while the message waits; a node's own is final. */
const sharedErrorRetrySeconds = 30;

function toResult(outcome: Outcome, errors: readonly PeermasqError[]): NodeResult {
  const isShared = outcome.kind === 'failed' && errors.includes(outcome.error);
  const retrySeconds = retryAfterSeconds(outcome) ?? (isShared ? sharedErrorRetrySeconds : undefined);
  return { outcome, ...(retrySeconds !== undefined && { retrySeconds }) };
}

async function dispositionOf(
  queuedEvent: QueuedEvent<NodesJoined>,
  results: ReadonlyMap<NodeKey, NodeResult>,
  batch: BatchContext,
): Promise<Disposition> {
  const ownResults = queuedEvent.event.nodes.map((node) => results.get(nodeKey(node)) ?? notReconciled(node));
  const open = ownResults.filter(({ retrySeconds }) => retrySeconds !== undefined);
  if (open.length > 0 && !queuedEvent.isOverdue) return retryLater(open);
  const held = await completeHeldLaunch(
    queuedEvent,
    ownResults.map(({ outcome }) => outcome),
    batch,
  );
  if (held && !queuedEvent.isOverdue) return held;
  for (const { outcome } of open) logGaveUp(outcome);
  const reasons = [...open.map(toReason), ...(held ? [held.reason] : [])];
  return reasons.length > 0 ? { kind: 'dead-letter', reason: reasons.join('; ') } : { kind: 'done' };
}

/** A pass tells of each node; should it not, nothing is concluded from that. */
const notReconciled = (node: AwsNodeRef): NodeResult => ({
  outcome: { node, kind: 'pending', reason: 'It was not looked at.', retryAfterSeconds: 5 },
  retrySeconds: 5,
});

function retryLater(open: readonly NodeResult[]): Disposition {
  const seconds = Math.min(...open.map(({ retrySeconds = 0 }) => retrySeconds));
  return { kind: 'retry', seconds, reason: open.map(toReason).join('; ') };
}

function logGaveUp(outcome: Outcome): void {
  const { node, cluster } = outcome;
  log.error('NodeTimedOut', { cloud: 'aws', node: node.id, cluster, reason: reasonOf(outcome) });
}

const toReason = ({ outcome }: NodeResult): string => `${nodeKey(outcome.node)}: ${reasonOf(outcome)}`;
