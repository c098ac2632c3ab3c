import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import type { AwsEvent } from '../../shared/aws/events';
import { isRecorded, readLate } from '../../shared/aws/late';
import type { AwsNode } from '../../shared/aws/nodes';
import { inWords, PeermasqError } from '../../shared/core/errors';
import { groupBy } from '../../shared/core/group';
import { nodeKey } from '../../shared/core/node';
import { faultFields, logOutcomes } from '../../shared/core/outcome';
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
  const faults = new Map<Letter<Ended>, PeermasqError>();
  for (const [account, some] of groupBy(letters, ({ event }) => event.node.account)) {
    for (const [letter, fault] of await readEnds(account, some, batch)) faults.set(letter, fault);
  }
  return letters.map((letter): Fate => {
    const fault = faults.get(letter);
    if (!fault) return { kind: 'done' };
    const reason = inWords(fault);
    return letter.isOverdue ? { kind: 'dead', reason } : { kind: 'again', seconds: 30, reason };
  });
}

/** @returns the letters that could not be dealt with, and why */
async function readEnds(
  account: string,
  letters: readonly Letter<Ended>[],
  batch: Batch,
): Promise<Map<Letter<Ended>, PeermasqError>> {
  const open = new Map<Letter<Ended>, PeermasqError>();
  try {
    const { unread, faults } = await settleEnds(account, letters, batch);
    for (const letter of letters) {
      const fault = unread.get(letter.event.commandId) ?? faults[0];
      if (fault) open.set(letter, fault);
    }
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    for (const letter of letters) open.set(letter, error);
  }
  for (const fault of new Set(open.values())) {
    log.error('ReconcileFailed', { cloud: 'aws', account, ...faultFields(fault) });
  }
  return open;
}

async function settleEnds(account: string, letters: readonly Letter<Ended>[], { home, deadline }: Batch) {
  const { cloud, clients } = accountFor(account, home);
  const refs = letters.map(({ event }) => event.node);
  const nodes: readonly AwsNode[] = await cloud.nodes.get(refs, deadline);
  const byKey = new Map(nodes.map((node) => [nodeKey(node.ref), node]));
  const ended = letters.flatMap(({ event: { node: ref, commandId, requestedAt } }) => {
    const node = byKey.get(nodeKey(ref));
    return node ? { node, commandId, requestedAt } : [];
  });
  const { returned, unread } = await readLate(
    clients,
    ended.filter((one) => !isRecorded(one)),
    deadline,
  );
  const { outcomes, faults } = await settle(returned, cloud.channel, log, deadline);
  logOutcomes(outcomes, log, Date.now());
  writeNodeMetrics(outcomes);
  return { unread, faults };
}
