import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { commandFinished } from '../../shared/aws/events/command-finished';
import type { CommandFinished } from '../../shared/aws/events/event';
import { isRecorded, readCommandResults } from '../../shared/aws/deliver/command-results';
import { formatError, PeermasqError } from '../../shared/core/model/errors';
import { groupBy } from '../../shared/core/util/collections';
import { nodeKey } from '../../shared/core/model/node';
import { errorFields, logOutcomes } from '../../shared/core/reconcile/outcome';
import { recordOutcomes } from '../../shared/core/reconcile/evaluate-report';
import { accountFor, log } from './runtime/accounts';
import { handleBatch, type BatchContext, type Disposition, type QueuedEvent } from './runtime/batch';
import { writeNodeMetrics } from './runtime/metrics';

/**
 * Reads the results of finished SSM commands. The function that sent a command has usually read its result already;
 * this function reads the results of slow nodes. If the rules failed on a node, the queued event that announced the
 * node is retried, or the next sweep reconciles the node.
 */
export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  return handleBatch(
    { functionName: 'command-finished', parsers: [commandFinished], handleEvents },
    event,
    context,
  );
}

type FinishedEvent = QueuedEvent<CommandFinished>;

async function handleEvents(
  queuedEvents: readonly FinishedEvent[],
  batch: BatchContext,
): Promise<Disposition[]> {
  const errors = new Map<FinishedEvent, PeermasqError>();
  for (const [account, some] of groupBy(queuedEvents, ({ event }) => event.node.account)) {
    for (const [queuedEvent, error] of await handleAccount(account, some, batch))
      errors.set(queuedEvent, error);
  }
  return queuedEvents.map((queuedEvent): Disposition => {
    const error = errors.get(queuedEvent);
    if (!error) return { kind: 'done' };
    const reason = formatError(error);
    return queuedEvent.isOverdue ? { kind: 'dead-letter', reason } : { kind: 'retry', seconds: 30, reason };
  });
}

/** @returns the events that could not be handled, each with its error */
async function handleAccount(
  account: string,
  queuedEvents: readonly FinishedEvent[],
  batch: BatchContext,
): Promise<Map<FinishedEvent, PeermasqError>> {
  const failed = new Map<FinishedEvent, PeermasqError>();
  try {
    const { unreadable, errors } = await recordCommandResults(account, queuedEvents, batch);
    for (const queuedEvent of queuedEvents) {
      const error = unreadable.get(queuedEvent.event.commandId) ?? errors[0];
      if (error) failed.set(queuedEvent, error);
    }
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    for (const queuedEvent of queuedEvents) failed.set(queuedEvent, error);
  }
  for (const error of new Set(failed.values())) {
    log.error('ReconcileFailed', { cloud: 'aws', account, ...errorFields(error) });
  }
  return failed;
}

async function recordCommandResults(
  account: string,
  queuedEvents: readonly FinishedEvent[],
  { location, deadline }: BatchContext,
) {
  const { cloud, clients } = accountFor(account, location);
  const refs = queuedEvents.map(({ event }) => event.node);
  const nodes = await cloud.nodes.get(refs, deadline);
  const byKey = new Map(nodes.map((node) => [nodeKey(node.ref), node]));
  const finishedCommands = queuedEvents.flatMap(({ event: { node: ref, commandId, requestedAt } }) => {
    const node = byKey.get(nodeKey(ref));
    return node ? { node, commandId, requestedAt } : [];
  });
  const { responses, unreadable } = await readCommandResults(
    { clients, deadline },
    finishedCommands.filter((command) => !isRecorded(command)),
  );
  const { outcomes, errors } = await recordOutcomes(responses, {
    channel: cloud.channel,
    log,
    deadline,
  });
  logOutcomes(outcomes, log, Date.now());
  writeNodeMetrics(outcomes);
  return { unreadable, errors };
}
