import type { ClusterConfig, Config } from './config';
import { judge } from './judge';
import { nodeKey, type Node, type NodeRef, type RouteSourceKind } from './node';
import { logEntry, type Outcome } from './outcome';
import { admit, plan, type Plan } from './plan';
import type { Clock, Cloud, Deadline, Log, Proof, Push, Pushed } from './ports';

export interface Dependencies {
  readonly cloud: Cloud;
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
}

/** Which nodes to look at: named by an event, or every node of some clusters (`'*'` for any). */
export type Selection = readonly NodeRef[] | { readonly clusters: readonly string[] };

type Planned = {
  readonly node: Node;
  readonly cluster: string;
  readonly plan: Extract<Plan, { kind: 'rule-set' }>;
};

/** An instance is visible to every API some seconds after the event that announces it. */
const notVisibleRetrySeconds = 10;

/**
 * The one path of every trigger: nodes → inventory → plan → push → proof. It converges: whatever the events
 * said, each node ends with the rule set that its surroundings and the config ask for now.
 * @returns one outcome for each selected node, also logged.
 * @throws PeermasqError for what concerns all nodes: no permission, an unreachable API.
 */
export async function reconcile(
  selection: Selection,
  dependencies: Dependencies,
  options: { readonly deadline: Deadline; readonly isDryRun?: boolean },
): Promise<Outcome[]> {
  const { cloud, config, log } = dependencies;
  const { deadline } = options;
  const nodes =
    'clusters' in selection
      ? await cloud.nodes.list(selection.clusters, deadline)
      : await cloud.nodes.get(unique(selection), deadline);

  const { decided, planned } = await planAll(nodes, config, dependencies, deadline);
  const pushed = options.isDryRun ? planned.map(asDryRun) : await pushAll(planned, dependencies, deadline);
  const absent = 'clusters' in selection ? [] : notFound(selection, nodes);

  const outcomes = [...absent, ...decided, ...pushed];
  for (const outcome of outcomes) {
    const { level, event, fields } = logEntry(outcome);
    log[level](event, fields);
  }
  return outcomes;
}

function unique(refs: readonly NodeRef[]): NodeRef[] {
  return [...new Map(refs.map((ref) => [nodeKey(ref), ref])).values()];
}

function notFound(refs: readonly NodeRef[], nodes: readonly Node[]): Outcome[] {
  const found = new Set(nodes.map(({ ref }) => nodeKey(ref)));
  return unique(refs)
    .filter((ref) => !found.has(nodeKey(ref)))
    .map((node) => ({
      node,
      kind: 'pending',
      reason: 'The cloud does not show this instance (yet).',
      retryAfterSeconds: notVisibleRetrySeconds,
    }));
}

async function planAll(
  nodes: readonly Node[],
  config: Config,
  { cloud, clock }: Dependencies,
  deadline: Deadline,
): Promise<{ decided: Outcome[]; planned: Planned[] }> {
  const decided: Outcome[] = [];
  const admitted: { node: Node; cluster: ClusterConfig }[] = [];
  for (const node of nodes) {
    const admission = admit(node, config);
    if (admission.kind === 'admitted') admitted.push({ node, cluster: admission.cluster });
    else decided.push({ node: node.ref, kind: 'skipped', skip: admission });
  }

  const planned: Planned[] = [];
  if (admitted.length === 0) return { decided, planned };
  const surroundings = await cloud.routes.around(
    admitted.map(({ node }) => node),
    kindsAskedFor(admitted.map(({ cluster }) => cluster)),
    deadline,
  );
  const generation = clock.now();
  for (const { node, cluster } of admitted) {
    const who = { node: node.ref, cluster: node.clusters[0] ?? cluster.name };
    const around = surroundings.get(nodeKey(node.ref));
    if (!around) {
      // It went away between the two look-ups; the next one says so.
      decided.push({
        ...who,
        kind: 'pending',
        reason: 'Its network cannot be seen (yet).',
        retryAfterSeconds: notVisibleRetrySeconds,
      });
      continue;
    }
    const result = plan(node, cluster, around, generation);
    if (result.kind === 'skip') decided.push({ ...who, kind: 'skipped', skip: result });
    else if (result.kind === 'hold') decided.push({ ...who, ...result, kind: 'held' });
    else planned.push({ node, cluster: who.cluster, plan: result });
  }
  return { decided, planned };
}

function kindsAskedFor(clusters: readonly ClusterConfig[]): RouteSourceKind[] {
  return [
    ...new Set(clusters.flatMap(({ masquerade }) => masquerade.filter((entry) => typeof entry === 'string'))),
  ];
}

const isInForce = ({ node, plan: { id } }: Planned): boolean =>
  node.recorded?.isProven === true && node.recorded.ruleSetId === id;

function asDryRun(planned: Planned): Outcome {
  const { node, cluster, plan: result } = planned;
  return { node: node.ref, cluster, kind: 'planned', plan: result, isChange: !isInForce(planned) };
}

/** Pushes each different rule set once, to all nodes that need it, then gathers what they report. */
async function pushAll(
  planned: readonly Planned[],
  dependencies: Dependencies,
  deadline: Deadline,
): Promise<Outcome[]> {
  const { channel } = dependencies.cloud;
  const byNode = new Map(planned.map((entry) => [nodeKey(entry.node.ref), entry]));
  const changed = planned.filter((entry) => !isInForce(entry));
  const pushes = (
    await Promise.all(byRuleSet(changed).map((group) => pushGroup(group, dependencies, deadline)))
  ).flat();
  const pushed = pushes.filter((push): push is Pushed => push.result === 'pushed');
  const proofs = pushed.length === 0 ? [] : await channel.proofs(pushed, deadline);
  const reports = proofs.filter((proof) => proof.result === 'reported');
  if (reports.length > 0) await channel.remember(reports, deadline);

  const told = (push: Exclude<Push, Pushed> | Proof): Outcome => {
    const { cluster, plan: meant } = byNode.get(nodeKey(push.node.ref)) ?? fail(push.node);
    return { node: push.node.ref, cluster, ...judge(push, meant) };
  };
  return [
    ...planned.filter(isInForce).map(asProven),
    ...pushes.filter((push) => push.result !== 'pushed').map(told),
    ...proofs.map(told),
  ];
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

async function pushGroup(
  group: readonly Planned[],
  { cloud, log }: Dependencies,
  deadline: Deadline,
): Promise<Push[]> {
  const [first] = group;
  if (!first) return [];
  const pushes = await cloud.channel.push(
    first.plan.ruleSet,
    group.map(({ node }) => node),
    deadline,
  );
  const nodes = pushes.filter(({ result }) => result === 'pushed').map(({ node }) => node.ref.id);
  if (nodes.length > 0) {
    log.info('RuleSetPushed', {
      cloud: first.node.ref.cloud,
      cluster: first.cluster,
      ruleSet: first.plan.id,
      nodes,
    });
  }
  return pushes;
}

const asProven = ({ node, cluster, plan: { id, warnings } }: Planned): Outcome => ({
  node: node.ref,
  cluster,
  kind: 'proven',
  ruleSetId: id,
  warnings,
});
