import { setTimeout as pause } from 'node:timers/promises';
import { PeermasqError } from '../../../shared/core/model/errors';
import { groupBy } from '../../../shared/core/util/collections';
import { nodeKey, type NodeRef } from '../../../shared/core/model/node';
import { retryAfterSeconds, type Outcome } from '../../../shared/core/reconcile/outcome';
import type { Deadline } from '../../../shared/core/cloud';
import type { PlannedChange } from '../plan';
import type { Target } from '../targets';

/** What became by now of the nodes that are named. */
export type PollOutcomes = (refs: readonly NodeRef[]) => Promise<readonly Outcome[]>;

/** Brings the nodes of each target to their end, all targets at the same time. */
export async function forEachTarget(
  nodes: readonly PlannedChange[],
  pushTo: (target: Target, nodes: readonly PlannedChange[]) => Promise<readonly Outcome[]>,
): Promise<readonly Outcome[]> {
  const byTarget = groupBy(nodes, ({ target }) => target.name);
  const ended = [...byTarget.values()].map((some) => {
    const [{ target }] = some as [PlannedChange];
    return pushTo(target, some);
  });
  return (await Promise.all(ended)).flat();
}

/**
 * Looks again at what is not ready, when it may be, for as long as there is time.
 * @param onProven is told of nodes as soon as they are proven
 */
export async function pollUntilDone(
  nodes: readonly PlannedChange[],
  poll: PollOutcomes,
  deadline: Deadline,
  onProven: (nodes: number) => void,
): Promise<readonly Outcome[]> {
  const ended = new Map<string, Outcome>();
  let pendingRefs = nodes.map(({ node }) => node.ref);
  for (;;) {
    const outcomes = await failedOnError(poll, pendingRefs);
    onProven(outcomes.filter(({ kind }) => kind === 'proven').length);
    for (const outcome of outcomes) ended.set(nodeKey(outcome.node), outcome);
    pendingRefs = pendingRefs.filter((ref) => ended.get(nodeKey(ref))?.kind === 'pending');
    const waits = pendingRefs.flatMap((ref) => {
      const outcome = ended.get(nodeKey(ref));
      return outcome ? (retryAfterSeconds(outcome) ?? []) : [];
    });
    const waitMs = Math.min(...waits) * 1_000;
    if (pendingRefs.length === 0 || Date.now() + waitMs >= deadline) return [...ended.values()];
    await pause(waitMs);
  }
}

/** A fault of the whole look is one of each node that it was for. */
async function failedOnError(poll: PollOutcomes, refs: readonly NodeRef[]): Promise<readonly Outcome[]> {
  try {
    return await poll(refs);
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    return refs.map((node) => ({ node, kind: 'failed', error }));
  }
}
