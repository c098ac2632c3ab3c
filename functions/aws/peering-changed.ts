import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import type { AwsEvent } from '../../shared/aws/events';
import { inWords, PeermasqError } from '../../shared/core/errors';
import { isProvisioning } from '../../shared/core/outcome';
import { pass } from '../../shared/core/reconcile';
import { accountFor, log } from './accounts';
import { serveBatch, type Again, type Batch, type Fate, type Letter } from './batch';
import { writeNodeMetrics } from './metrics';

type Changed = Extract<AwsEvent, { kind: 'routes-changed' }>;

/**
 * Peerings, routes or the tables of subnets changed: all nodes of the account are planned anew, and those whose
 * rule set is another one now get it. A burst of changes, as Terraform makes them, is one look.
 */
export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  return serveBatch('peering-changed', 'routes-changed', event, context, serve);
}

async function serve(letters: readonly Letter<Changed>[], batch: Batch): Promise<Fate[]> {
  for (const { event, message } of letters) {
    const { account, change } = event;
    log.info('PeeringChanged', { cloud: 'aws', messageId: message.messageId, account, change });
  }
  const accounts = [...new Set(letters.map(({ event }) => event.account))];
  const open = new Map(await Promise.all(accounts.map(async (id) => [id, await lookAt(id, batch)] as const)));
  return letters.map(({ event, isOverdue }): Fate => {
    const again = open.get(event.account);
    if (!again) return { kind: 'done' };
    return isOverdue ? { kind: 'dead', reason: again.reason } : again;
  });
}

/** Nodes that could not be served are the next sweep's; only what the change itself leaves open comes again. */
async function lookAt(id: string, { home, deadline }: Batch): Promise<Again | undefined> {
  const account = accountFor(id, home);
  const clusters = account.config.clusters.map(({ name }) => name);
  try {
    const { outcomes, faults } = await pass({ clusters }, account, { deadline, leavesYoung: true });
    writeNodeMetrics(outcomes);
    if (faults[0]) return { kind: 'again', seconds: 30, reason: inWords(faults[0]) };
    if (!outcomes.some(isProvisioning)) return undefined;
    return { kind: 'again', seconds: 10, reason: 'A peering is still being set up.' };
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    return { kind: 'again', seconds: 30, reason: inWords(error) };
  }
}
