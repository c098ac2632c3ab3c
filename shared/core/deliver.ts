import { PeermasqError, RetryableError } from './errors';
import { judge } from './judge';
import { nodeKey, type Node } from './node';
import { faultFields, type Outcome } from './outcome';
import type { Plan } from './plan';
import type { Channel, Deadline, Log, Proof, Push, Pushed } from './ports';

export interface Planned {
  readonly node: Node;
  readonly cluster: string;
  readonly plan: Extract<Plan, { kind: 'rule-set' }>;
}

const isInForce = ({ node, plan: { id } }: Planned): boolean =>
  node.recorded?.isProven === true && node.recorded.ruleSetId === id;

export function asDryRun(planned: Planned): Outcome {
  const { node, cluster, plan: result } = planned;
  return { node: node.ref, cluster, kind: 'planned', plan: result, isChange: !isInForce(planned) };
}

export interface Delivered {
  readonly outcomes: readonly Outcome[];
  /** What concerns more than one node and stays broken: the invocation must not end as if it were done. */
  readonly fault?: Error;
}

/** Pushes each different rule set once, to all nodes that need it, then gathers what they report. */
export async function deliver(
  planned: readonly Planned[],
  channel: Channel,
  log: Log,
  deadline: Deadline,
): Promise<Delivered> {
  const groups = byRuleSet(planned.filter((entry) => !isInForce(entry)));
  const answers = await Promise.all(groups.map((group) => pushGroup(group, channel, log, deadline)));
  const pushes = answers.flatMap((answer) => answer.pushes);
  const fault = answers.find((answer) => answer.fault)?.fault;

  const pushed = pushes.filter((push): push is Pushed => push.result === 'pushed');
  const proofs = pushed.length === 0 ? [] : await channel.proofs(pushed, deadline);
  await record(proofs, channel, log, deadline);

  const byNode = new Map(planned.map((entry) => [nodeKey(entry.node.ref), entry]));
  const told = (answer: Exclude<Push, Pushed> | Proof): Outcome => {
    const { cluster, plan: meant } = byNode.get(nodeKey(answer.node.ref)) ?? fail(answer.node);
    return { node: answer.node.ref, cluster, ...judge(answer, meant) };
  };
  return {
    outcomes: [
      ...planned.filter(isInForce).map(asProven),
      ...pushes.filter((push) => push.result !== 'pushed').map(told),
      ...proofs.map(told),
    ],
    ...(fault ? { fault } : {}),
  };
}

/** Only what tells which rule set is in force: a node that was busy or refused keeps the record it has. */
async function record(
  proofs: readonly Proof[],
  channel: Channel,
  log: Log,
  deadline: Deadline,
): Promise<void> {
  const reports = proofs
    .filter((proof) => proof.result === 'reported')
    .filter(({ report: { result } }) => result === 'applied' || result === 'unchanged');
  if (reports.length === 0) return;
  for (const { node, error } of await channel.remember(reports, deadline)) {
    log.warn('RecordFailed', { cloud: node.ref.cloud, node: node.ref.id, ...faultFields(error) });
  }
}

/** A channel that answers for a node it was not given breaks its contract. */
function fail(node: Node): never {
  throw new Error(`The channel answered for ${nodeKey(node.ref)}, which was not pushed to`);
}

function byRuleSet(planned: readonly Planned[]): Planned[][] {
  const groups = new Map<string, Planned[]>();
  for (const entry of planned) {
    const group = groups.get(entry.plan.id);
    if (group) group.push(entry);
    else groups.set(entry.plan.id, [entry]);
  }
  return [...groups.values()];
}

/** A fault of one group does not keep the others from their rules. */
async function pushGroup(
  group: readonly Planned[],
  channel: Channel,
  log: Log,
  deadline: Deadline,
): Promise<{ pushes: readonly Push[]; fault?: Error }> {
  const [first] = group;
  if (!first) return { pushes: [] };
  const nodes = group.map(({ node }) => node);
  try {
    const pushes = await channel.push(first.plan.ruleSet, nodes, deadline);
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

const asProven = ({ node, cluster, plan: { id, warnings } }: Planned): Outcome => ({
  node: node.ref,
  cluster,
  kind: 'proven',
  ruleSetId: id,
  warnings,
});
