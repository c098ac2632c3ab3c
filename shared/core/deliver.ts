import { PeermasqError, RetryableError } from './errors';
import { groupBy } from './group';
import { judge, type Meant } from './judge';
import { nodeKey, type Node } from './node';
import type { Outcome } from './outcome';
import type { Plan } from './plan';
import type { Channel, Deadline, End, Log, Push, Pushed, Unrecorded } from './ports';
import { faultOf, remember, settle, type Returned } from './settle';

export interface Planned {
  readonly node: Node;
  readonly cluster: string;
  readonly plan: Extract<Plan, { kind: 'rule-set' }>;
}

const isInForce = ({ node, plan: { id } }: Planned): boolean =>
  node.recorded?.isProven === true && node.recorded.ruleSetId === id;

export function asDryRun(planned: Planned): Extract<Outcome, { kind: 'planned' }> {
  return { ...whoIs(planned), kind: 'planned', plan: planned.plan, isChange: !isInForce(planned) };
}

/**
 * Pushes each different rule set once, to all nodes that need it, then gathers what they report.
 * @param isAgain those that have proven it need it too
 */
export async function deliver(
  planned: readonly Planned[],
  channel: Channel,
  log: Log,
  deadline: Deadline,
  isAgain = false,
): Promise<{ outcomes: Outcome[]; faults: PeermasqError[] }> {
  const left = isAgain ? [] : planned.filter(isInForce);
  const groups = groupBy(
    planned.filter((entry) => isAgain || !isInForce(entry)),
    ({ plan: { id } }) => id,
  );
  const answers = await Promise.all(
    [...groups.values()].map((group) => pushGroup(group, channel, log, deadline, isAgain)),
  );
  const pushes = answers.flatMap((answer) => answer.pushes);

  const pushed = pushes.filter((push): push is Pushed => push.result === 'pushed');
  const proofs = pushed.length === 0 ? [] : await channel.proofs(pushed, deadline);

  const byNode = new Map(planned.map((entry) => [nodeKey(entry.node.ref), entry]));
  const entryOf = ({ node }: { readonly node: Node }) => byNode.get(nodeKey(node.ref)) ?? fail(node);
  const returned = proofs.map((proof): Returned => {
    const entry = entryOf(proof);
    return { proof, meant: meantBy(entry), cluster: entry.cluster, routes: entry.plan.routes };
  });
  const settled = await settle(returned, channel, log, deadline);
  const unrecorded = await mirror(left, channel, log, deadline);
  return {
    outcomes: [
      ...left.map(asProven),
      ...pushes
        .filter((push) => push.result !== 'pushed')
        .map((push): Outcome => ({ ...whoIs(entryOf(push)), ...judge(push, meantBy(entryOf(push))) })),
      ...settled.outcomes,
    ],
    faults: [...answers.flatMap(({ fault }) => fault ?? []), ...settled.faults, ...faultOf(unrecorded)],
  };
}

/** What nodes told of themselves is written where the next look finds it without asking them. */
async function mirror(
  proven: readonly Planned[],
  channel: Channel,
  log: Log,
  deadline: Deadline,
): Promise<readonly Unrecorded[]> {
  const ends = proven
    .filter(({ node }) => node.recorded?.isUnmirrored)
    .map(({ node, plan: { id, routes } }): End => ({ node, ruleSetId: id, state: 'proven', routes }));
  return remember(ends, channel, log, deadline);
}

const meantBy = ({ plan: { id, ruleSet, warnings } }: Planned): Meant => ({
  id,
  generation: ruleSet.generation,
  warnings,
});

const whoIs = ({ node: { ref, launchedAt }, cluster }: Planned) => ({
  node: ref,
  cluster,
  ...(launchedAt && { launchedAt }),
});

/** A channel that answers for a node it was not given breaks its contract. */
function fail(node: Node): never {
  throw new Error(`The channel answered for ${nodeKey(node.ref)}, which was not pushed to`);
}

/** A fault of one group does not keep the others from their rules. */
async function pushGroup(
  group: readonly Planned[],
  channel: Channel,
  log: Log,
  deadline: Deadline,
  isAgain: boolean,
): Promise<{ pushes: readonly Push[]; fault?: PeermasqError }> {
  const [first] = group;
  if (!first) return { pushes: [] };
  const nodes = group.map(({ node }) => node);
  try {
    const order = { ...first.plan, ...(isAgain && { isAgain }) };
    const pushes = await channel.push(order, nodes, deadline);
    const ids = pushes.filter(({ result }) => result === 'pushed').map(({ node }) => node.ref.id);
    const { cloud } = first.node.ref;
    if (ids.length > 0)
      log.info('RuleSetPushed', { cloud, cluster: first.cluster, ruleSet: first.plan.id, nodes: ids });
    return { pushes };
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    const pushes = nodes.map((node): Push => ({ result: 'failed', node, error }));
    return error instanceof RetryableError ? { pushes } : { pushes, fault: error };
  }
}

const asProven = (entry: Planned): Outcome => ({
  ...whoIs(entry),
  kind: 'proven',
  ruleSetId: entry.plan.id,
  warnings: entry.plan.warnings,
});
