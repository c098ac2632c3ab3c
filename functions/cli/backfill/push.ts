import { setTimeout as pause } from 'node:timers/promises';
import { nodeKey } from '../../../shared/core/node';
import type { Outcome } from '../../../shared/core/outcome';
import type { Deadline } from '../../../shared/core/ports';
import { pass, type Options } from '../../../shared/core/reconcile';
import { restartWhereAsked } from '../../../shared/core/restart';
import type { Planned } from '../plan';
import { perTarget, untilEnded, type Look } from './until-ended';

/**
 * Brings the nodes of one wave to what they are to have.
 * @param onProven is told of nodes as soon as they are proven, while others are still waited for
 */
export type PushWave = (
  nodes: readonly Planned[],
  deadline: Deadline,
  onProven: (nodes: number) => void,
) => Promise<readonly Outcome[]>;

/** The one path of every trigger, for the nodes of a wave; what is not ready is looked at again until the deadline. */
export const pushWave =
  (asked: Pick<Options, 'acceptsLoss' | 'isAgain'>): PushWave =>
  (nodes, deadline, onProven) =>
    perTarget(nodes, async (target, some) => {
      const agreed = new Map(some.map(({ node, outcome }) => [nodeKey(node.ref), outcome.plan.id]));
      const look: Look = async (refs) => (await pass(refs, target, { deadline, agreed, ...asked })).outcomes;
      const outcomes = await untilEnded(some, look, deadline, onProven);
      return restartWhereAsked(outcomes, target, deadline, pause);
    });
