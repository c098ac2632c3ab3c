import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import type { AwsEvent } from '../../shared/aws/events';
import { isRecorded, readLate } from '../../shared/aws/late';
import type { AwsNode } from '../../shared/aws/nodes';
import { PeermasqError } from '../../shared/core/errors';
import { groupBy } from '../../shared/core/group';
import { nodeKey } from '../../shared/core/node';
import { faultFields, logOutcomes, type Outcome } from '../../shared/core/outcome';
import { settle } from '../../shared/core/settle';
import { accountFor, log } from './accounts';
import { serveBatch, type Batch, type Fate, type Letter } from './batch';
import { writeNodeMetrics } from './metrics';

type Ended = Extract<AwsEvent, { kind: 'command-ended' }>;

/**
 * Commands that have ended. Most were read by whoever sent them; those that took longer are read here. A node
 * that failed is tried again by the message that announced it, or by the next sweep.
 */
export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  return serveBatch('command-finished', 'command-ended', event, context, serve);
}

async function serve(letters: readonly Letter<Ended>[], batch: Batch): Promise<Fate[]> {
  const faults = new Map<string, PeermasqError>();
  for (const [account, some] of groupBy(letters, ({ event }) => event.node.account)) {
    try {
      writeNodeMetrics(await readEnds(account, some, batch));
    } catch (error) {
      if (!(error instanceof PeermasqError)) throw error;
      log.error('ReconcileFailed', { cloud: 'aws', account, ...faultFields(error) });
      faults.set(account, error);
    }
  }
  return letters.map(({ event, isOverdue }): Fate => {
    const fault = faults.get(event.node.account);
    if (!fault) return { kind: 'done' };
    const reason = `${fault.message} (${fault.advice})`;
    return isOverdue ? { kind: 'dead', reason } : { kind: 'again', seconds: 30, reason };
  });
}

async function readEnds(
  account: string,
  letters: readonly Letter<Ended>[],
  { home, deadline }: Batch,
): Promise<Outcome[]> {
  const { cloud, clients } = accountFor(account, home);
  const refs = letters.map(({ event }) => event.node);
  const nodes: readonly AwsNode[] = await cloud.nodes.get(refs, deadline);
  const byKey = new Map(nodes.map((node) => [nodeKey(node.ref), node]));
  const ended = letters.flatMap(({ event: { node: ref, commandId, requestedAt } }) => {
    const node = byKey.get(nodeKey(ref));
    return node ? { node, commandId, requestedAt } : [];
  });
  const late = await readLate(
    clients,
    ended.filter((one) => !isRecorded(one)),
    deadline,
  );
  const outcomes = await settle(late, cloud.channel, log, deadline);
  logOutcomes(outcomes, log);
  return outcomes;
}
