import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import type { AwsEvent } from '../../shared/aws/events';
import { groupBy } from '../../shared/core/group';
import { PeermasqError } from '../../shared/core/errors';
import { nodeKey, type AwsNodeRef, type NodeKey } from '../../shared/core/node';
import { reasonOf, retryAfterSeconds, type Outcome } from '../../shared/core/outcome';
import { pass } from '../../shared/core/reconcile';
import { accountFor, log } from './accounts';
import { serveBatch, type Batch, type Fate, type Letter } from './batch';
import { completeLaunchOf } from './launch-gate';
import { writeNodeMetrics } from './metrics';

type Joined = Extract<AwsEvent, { kind: 'nodes-joined' }>;

/**
 * Nodes that joined: instances that were started, run, or were launched by an Auto Scaling group. All nodes of
 * a batch are one set, looked at once.
 */
export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  return serveBatch('node-joined', 'nodes-joined', event, context, serve);
}

/**
 * Seconds that an event is young. An instance tells that it runs, and is served by that; what else tells of it is
 * there in case that is lost, and would only make two batches serve the same node at once.
 */
const youth = { running: 0, held: 15, started: 90, launched: 90 } as const;

async function serve(letters: readonly Letter<Joined>[], batch: Batch): Promise<Fate[]> {
  for (const { event, message } of letters) {
    const nodes = event.nodes.map(({ id }) => id);
    log.info('NodeJoined', { cloud: 'aws', messageId: message.messageId, by: event.by, nodes });
  }
  // Asked once: what ripens during the look was not looked at.
  const untilRipe = new Map(letters.map((letter) => [letter, secondsUntilRipe(letter)]));
  const ripe = letters.filter((letter) => untilRipe.get(letter) === 0);
  const results = await lookAt(ripe, batch);
  writeNodeMetrics(
    [...results.values()].map(({ outcome }) => outcome),
    timesOf(ripe, 'first'),
  );
  const fates: Fate[] = [];
  // One after the other: Auto Scaling bears few calls at once.
  for (const letter of letters) {
    const seconds = untilRipe.get(letter) ?? 0;
    fates.push(seconds > 0 ? tooYoung(seconds) : await fateOf(letter, results, batch));
  }
  return fates;
}

const tooYoung = (seconds: number): Fate => ({
  kind: 'again',
  seconds,
  reason: 'It is told of before it can be reached.',
});

/** Only at its first delivery is an event too young. */
function secondsUntilRipe({ event, attempt }: Letter<Joined>): number {
  if (attempt > 1) return 0;
  const young = youth[event.by];
  return Math.min(young, Math.max(0, young - (Date.now() - event.at.getTime()) / 1_000));
}

/** When each node was told of, for the first or the last time. */
function timesOf(letters: readonly Letter<Joined>[], which: 'first' | 'last'): Map<NodeKey, Date> {
  const inOrder = letters.toSorted((a, b) => a.event.at.getTime() - b.event.at.getTime());
  // Of a key that comes twice, a map keeps the later one.
  const kept = which === 'last' ? inOrder : inOrder.toReversed();
  return new Map(
    kept.flatMap(({ event: { nodes, at } }) => nodes.map((node) => [nodeKey(node), at] as const)),
  );
}

interface Result {
  readonly outcome: Outcome;
  /** Seconds after which to look again, if that can change anything. */
  readonly again?: number;
}

/** One pass for each account. A fault in one does not keep the others from their rules. */
async function lookAt(
  letters: readonly Letter<Joined>[],
  { home, deadline }: Batch,
): Promise<Map<NodeKey, Result>> {
  const refs = letters.flatMap(({ event }) => event.nodes);
  const toldAt = timesOf(letters, 'last');
  const passes = [...groupBy(refs, ({ account }) => account)].map(async ([account, nodes]) => {
    try {
      const { outcomes, faults } = await pass(nodes, accountFor(account, home), { deadline, toldAt });
      return outcomes.map((outcome) => toResult(outcome, faults));
    } catch (error) {
      if (!(error instanceof PeermasqError)) throw error;
      return nodes.map((node) => toResult({ node, kind: 'failed', error }, [error]));
    }
  });
  const results = (await Promise.all(passes)).flat();
  return new Map(results.map((result) => [nodeKey(result.outcome.node), result]));
}

/** A fault that concerns all nodes may be mended while the message waits; a node's own is final. */
const faultRetrySeconds = 30;

function toResult(outcome: Outcome, faults: readonly PeermasqError[]): Result {
  const isShared = outcome.kind === 'failed' && faults.includes(outcome.error);
  const again = retryAfterSeconds(outcome) ?? (isShared ? faultRetrySeconds : undefined);
  return { outcome, ...(again !== undefined && { again }) };
}

async function fateOf(
  letter: Letter<Joined>,
  results: ReadonlyMap<NodeKey, Result>,
  batch: Batch,
): Promise<Fate> {
  const ofLetter = letter.event.nodes.map((node) => results.get(nodeKey(node)) ?? unseen(node));
  const open = ofLetter.filter(({ again }) => again !== undefined);
  if (open.length > 0 && !letter.isOverdue) return lookAgain(open);
  const held = await completeLaunchOf(
    letter,
    ofLetter.map(({ outcome }) => outcome),
    batch,
  );
  if (held && !letter.isOverdue) return held;
  for (const { outcome } of open) logGivenUp(outcome);
  const reasons = [...open.map(toReason), ...(held ? [held.reason] : [])];
  return reasons.length > 0 ? { kind: 'dead', reason: reasons.join('; ') } : { kind: 'done' };
}

/** A pass tells of each node; should it not, nothing is concluded from that. */
const unseen = (node: AwsNodeRef): Result => ({
  outcome: { node, kind: 'pending', reason: 'It was not looked at.', retryAfterSeconds: 5 },
  again: 5,
});

function lookAgain(open: readonly Result[]): Fate {
  const seconds = Math.min(...open.map(({ again = 0 }) => again));
  return { kind: 'again', seconds, reason: open.map(toReason).join('; ') };
}

function logGivenUp(outcome: Outcome): void {
  const { node, cluster } = outcome;
  log.error('NodeGaveUp', { cloud: 'aws', node: node.id, cluster, reason: reasonOf(outcome) });
}

const toReason = ({ outcome }: Result): string => `${nodeKey(outcome.node)}: ${reasonOf(outcome)}`;
