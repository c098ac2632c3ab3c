import { setTimeout as pause } from 'node:timers/promises';
import type { Deadline } from '../../../shared/core/cloud';
import { PeermasqError } from '../../../shared/core/model/errors';
import { nodeKey, type NodeRef } from '../../../shared/core/model/node';
import { retryAfterSeconds, type Outcome } from '../../../shared/core/reconcile/outcome';
import { groupBy } from '../../../shared/core/util/collections';
import type { PlannedChange } from '../dry-run';
import type { Target } from '../targets';

/** Calls `pushTo` for all targets in parallel, each with its own nodes. */
export async function forEachTarget(
  nodes: readonly PlannedChange[],
  pushTo: (target: Target, nodes: readonly PlannedChange[]) => Promise<readonly Outcome[]>,
): Promise<readonly Outcome[]> {
  const byTarget = groupBy(nodes, ({ target }) => target.name);
  const pushes = [...byTarget.values()].map((group) => pushTo(group[0].target, group));
  return (await Promise.all(pushes)).flat();
}

/** Returns the current outcome of each node. */
export type PollOutcomes = (refs: readonly NodeRef[]) => Promise<readonly Outcome[]>;

export interface PollOptions {
  readonly deadline: Deadline;
  /** Called with the number of nodes that became proven since the previous call. */
  readonly onProven: (nodes: number) => void;
}

/** Polls pending nodes until none is pending or the deadline is near. Each node is polled when its retry is due. */
export async function pollUntilDone(
  nodes: readonly PlannedChange[],
  poll: PollOutcomes,
  { deadline, onProven }: PollOptions,
): Promise<readonly Outcome[]> {
  const latest = new Map<string, Outcome>();
  let pendingRefs = nodes.map(({ node }) => node.ref);
  for (;;) {
    const outcomes = await failedOnError(poll, pendingRefs);
    onProven(outcomes.filter(({ kind }) => kind === 'proven').length);
    for (const outcome of outcomes) latest.set(nodeKey(outcome.node), outcome);
    pendingRefs = pendingRefs.filter((ref) => latest.get(nodeKey(ref))?.kind === 'pending');
    const waits = pendingRefs.flatMap((ref) => {
      const outcome = latest.get(nodeKey(ref));
      return outcome ? (retryAfterSeconds(outcome) ?? []) : [];
    });
    const waitMs = Math.min(...waits) * 1_000;
    if (pendingRefs.length === 0 || Date.now() + waitMs >= deadline) return [...latest.values()];
    await pause(waitMs);
  }
}

/** Polls nodes. If the poll throws, every node gets the error as its outcome. */
async function failedOnError(poll: PollOutcomes, refs: readonly NodeRef[]): Promise<readonly Outcome[]> {
  try {
    return await poll(refs);
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    return refs.map((node) => ({ node, kind: 'failed', error }));
  }
}
