import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import type { ParsedEvent } from '../../shared/aws/events/parse-event';
import { formatError, PeermasqError } from '../../shared/core/model/errors';
import { isProvisioning } from '../../shared/core/reconcile/outcome';
import { reconcile } from '../../shared/core/reconcile/reconcile';
import { accountFor, log } from './runtime/accounts';
import {
  handleBatch,
  type Retry,
  type BatchContext,
  type Disposition,
  type QueuedEvent,
} from './runtime/batch';
import { writeNodeMetrics } from './runtime/metrics';

type RoutesChanged = Extract<ParsedEvent, { kind: 'routes-changed' }>;

/**
 * Peerings, routes or the tables of subnets changed: all nodes of the account are planned anew, and those whose
 * rule set is another one now get it. A burst of changes, as Terraform makes them, is one look.
 */
export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  return handleBatch('peering-changed', 'routes-changed', event, context, handleEvents);
}

async function handleEvents(
  queuedEvents: readonly QueuedEvent<RoutesChanged>[],
  batch: BatchContext,
): Promise<Disposition[]> {
  for (const { event, message } of queuedEvents) {
    const { account, change } = event;
    log.info('PeeringChanged', { cloud: 'aws', messageId: message.messageId, account, change });
  }
  const accounts = [...new Set(queuedEvents.map(({ event }) => event.account))];
  const retries = new Map(
    await Promise.all(accounts.map(async (id) => [id, await reconcileAccount(id, batch)] as const)),
  );
  return queuedEvents.map(({ event, isOverdue }): Disposition => {
    const retry = retries.get(event.account);
    if (!retry) return { kind: 'done' };
    return isOverdue ? { kind: 'dead-letter', reason: retry.reason } : retry;
  });
}

/** Nodes that could not be served are the next sweep's; only what the change itself leaves open comes again. */
async function reconcileAccount(
  id: string,
  { location, deadline }: BatchContext,
): Promise<Retry | undefined> {
  const account = accountFor(id, location);
  const clusters = account.config.clusters.map(({ name }) => name);
  try {
    const { outcomes, errors } = await reconcile({ clusters }, account, { deadline, skipNewNodes: true });
    writeNodeMetrics(outcomes);
    if (errors[0]) return { kind: 'retry', seconds: 30, reason: formatError(errors[0]) };
    if (!outcomes.some(isProvisioning)) return undefined;
    return { kind: 'retry', seconds: 10, reason: 'A peering is still being set up.' };
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    return { kind: 'retry', seconds: 30, reason: formatError(error) };
  }
}
