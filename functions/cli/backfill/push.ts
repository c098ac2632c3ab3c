import { setTimeout as sleep } from 'node:timers/promises';
import { nodeKey } from '../../../shared/core/model/node';
import type { Outcome } from '../../../shared/core/reconcile/outcome';
import { reconcile, type ReconcileOptions } from '../../../shared/core/reconcile/reconcile';
import { restartWhereConfigured } from '../../../shared/core/reconcile/restart-nodes';
import type { PlannedChange } from '../dry-run';
import { forEachTarget, pollUntilDone, type PollOptions, type PollOutcomes } from './poll-until-done';

/** Pushes to the nodes of one wave. */
export type PushWave = (nodes: readonly PlannedChange[], options: PollOptions) => Promise<readonly Outcome[]>;

/**
 * Reconciles the nodes of a wave, as the event handlers do. A node whose plan has changed since the user approved it
 * is held.
 */
export const pushWave =
  (reconcileOptions: Pick<ReconcileOptions, 'allowRouteLoss' | 'force'>): PushWave =>
  (nodes, options) =>
    forEachTarget(nodes, async (target, group) => {
      const { deadline } = options;
      const approved = new Map(group.map(({ node, outcome }) => [nodeKey(node.ref), outcome.plan.id]));
      const poll: PollOutcomes = async (refs) =>
        (await reconcile(refs, target, { deadline, approved, ...reconcileOptions })).outcomes;
      const outcomes = await pollUntilDone(group, poll, options);
      return restartWhereConfigured(outcomes, target, { deadline, wait: sleep });
    });
