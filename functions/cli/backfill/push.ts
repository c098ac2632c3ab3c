import { setTimeout as pause } from 'node:timers/promises';
import { PeermasqError } from '../../../shared/core/errors';
import { groupBy } from '../../../shared/core/group';
import { nodeKey } from '../../../shared/core/node';
import type { Outcome } from '../../../shared/core/outcome';
import type { Deadline } from '../../../shared/core/ports';
import { pass, type Options } from '../../../shared/core/reconcile';
import { restartWhereAsked } from '../../../shared/core/restart';
import type { Planned } from '../plan';
import { untilEnded } from './until-ended';

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
export function pushWave(asked: Pick<Options, 'acceptsLoss' | 'isAgain'>): PushWave {
  return async (nodes, deadline, onProven) => {
    const byTarget = groupBy(nodes, ({ target }) => target.name);
    const ended = [...byTarget.values()].map(async (some): Promise<readonly Outcome[]> => {
      const [{ target }] = some as [Planned];
      const refs = some.map(({ node }) => node.ref);
      const agreed = new Map(some.map(({ node, outcome }) => [nodeKey(node.ref), outcome.plan.id]));
      const look = async (which: typeof refs): Promise<readonly Outcome[]> => {
        try {
          const { outcomes } = await pass(which, target, { deadline, agreed, ...asked });
          onProven(outcomes.filter(({ kind }) => kind === 'proven').length);
          return outcomes;
        } catch (error) {
          if (!(error instanceof PeermasqError)) throw error;
          return which.map((node) => ({ node, kind: 'failed', error }));
        }
      };
      const outcomes = await untilEnded(refs, look, deadline);
      return restartWhereAsked(outcomes, target, deadline, pause);
    });
    return (await Promise.all(ended)).flat();
  };
}
