import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import type { ParsedEvent } from '../../shared/aws/events/parse-event';
import { isRecorded, readCommandResults } from '../../shared/aws/deliver/command-results';
import { formatError, PeermasqError } from '../../shared/core/model/errors';
import { groupBy } from '../../shared/core/util/collections';
import { nodeKey } from '../../shared/core/model/node';
import { errorFields, logOutcomes } from '../../shared/core/reconcile/outcome';
import { recordOutcomes } from '../../shared/core/reconcile/record-outcomes';
import { accountFor, log } from './runtime/accounts';
import { handleBatch, type BatchContext, type Disposition, type QueuedEvent } from './runtime/batch';
import { writeNodeMetrics } from './runtime/metrics';

type CommandFinished = Extract<ParsedEvent, { kind: 'command-finished' }>;

/**
 * Commands that have ended. Most were read by whoever sent them; those that took longer are read here. A node
 * that failed is tried again by the message that announced it, or by the next sweep.
 */
export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  return handleBatch('command-finished', 'command-finished', event, context, handleEvents);
}

async function handleEvents(
  queuedEvents: readonly QueuedEvent<CommandFinished>[],
  batch: BatchContext,
): Promise<Disposition[]> {
  const errors = new Map<QueuedEvent<CommandFinished>, PeermasqError>();
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

/** @returns the letters that could not be dealt with, and why */
async function handleAccount(
  account: string,
  queuedEvents: readonly QueuedEvent<CommandFinished>[],
  batch: BatchContext,
): Promise<Map<QueuedEvent<CommandFinished>, PeermasqError>> {
  const failed = new Map<QueuedEvent<CommandFinished>, PeermasqError>();
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
  queuedEvents: readonly QueuedEvent<CommandFinished>[],
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
    clients,
    finishedCommands.filter((one) => !isRecorded(one)),
    deadline,
  );
  const { outcomes, errors } = await recordOutcomes(responses, cloud.channel, log, deadline);
  logOutcomes(outcomes, log, Date.now());
  writeNodeMetrics(outcomes);
  return { unreadable, errors };
}
