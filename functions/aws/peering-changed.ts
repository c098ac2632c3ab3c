import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import type { RoutesChanged } from '../../shared/aws/events/event';
import { routesChanged } from '../../shared/aws/events/routes-changed';
import { formatError, PeermasqError } from '../../shared/core/model/errors';
import { isProvisioning } from '../../shared/core/reconcile/outcome';
import { reconcile } from '../../shared/core/reconcile/reconcile';
import { accountFor, log } from './runtime/accounts';
import {
  handleBatch,
  type BatchContext,
  type Disposition,
  type QueuedEvent,
  type Retry,
} from './runtime/batch';
import { writeNodeMetrics } from './runtime/metrics';

/**
 * Reconciles all nodes of an account after its peerings, routes or route table associations changed. A burst of
 * changes, such as a Terraform apply, is handled as one batch.
 */
export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  return handleBatch(
    { functionName: 'peering-changed', parsers: [routesChanged], handleEvents },
    event,
    context,
  );
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

/**
 * If individual nodes fail, the next sweep handles them. Errors that affect the whole account, and unfinished peerings,
 * are retried.
 */
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
    return { kind: 'retry', seconds: 10, reason: 'a peering is still provisioning' };
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    return { kind: 'retry', seconds: 30, reason: formatError(error) };
  }
}
