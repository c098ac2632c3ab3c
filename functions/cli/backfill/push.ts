import { setTimeout as pause } from 'node:timers/promises';
import { nodeKey } from '../../../shared/core/model/node';
import type { Outcome } from '../../../shared/core/reconcile/outcome';
import type { Deadline } from '../../../shared/core/cloud';
import { reconcile, type ReconcileOptions } from '../../../shared/core/reconcile/reconcile';
import { restartWhereConfigured } from '../../../shared/core/reconcile/restart-nodes';
import type { PlannedChange } from '../plan';
import { forEachTarget, pollUntilDone, type PollOutcomes } from './poll-until-done';

/**
 * Brings the nodes of one wave to what they are to have.
 * @param onProven is told of nodes as soon as they are proven, while others are still waited for
 */
export type PushWave = (
  nodes: readonly PlannedChange[],
  deadline: Deadline,
  onProven: (nodes: number) => void,
) => Promise<readonly Outcome[]>;

/** The one path of every trigger, for the nodes of a wave; what is not ready is looked at again until the deadline. */
export const pushWave =
  (options: Pick<ReconcileOptions, 'allowRouteLoss' | 'force'>): PushWave =>
  (nodes, deadline, onProven) =>
    forEachTarget(nodes, async (target, some) => {
      const approved = new Map(some.map(({ node, outcome }) => [nodeKey(node.ref), outcome.plan.id]));
      const poll: PollOutcomes = async (refs) =>
        (await reconcile(refs, target, { deadline, approved, ...options })).outcomes;
      const outcomes = await pollUntilDone(some, poll, deadline, onProven);
      return restartWhereConfigured(outcomes, target, deadline, pause);
    });
