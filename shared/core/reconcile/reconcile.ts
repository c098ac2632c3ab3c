import type { Cloud, Deadline } from '../cloud';
import type { Log } from '../log';
import { requestedKinds, type ClusterConfig, type Config } from '../model/config';
import { nodeKey, type NetworkContext, type Node, type NodeKey, type NodeRef } from '../model/node';
import { checkEligibility } from './check-eligibility';
import { errorFields, hasChanged, logOutcomes, subjectOf, type Outcome } from './outcome';
import { plan } from './plan';
import { pushRuleSets, toPlannedOutcome, type PlannedNode } from './push';
import type { DeliveryResult } from './evaluate-report';
import { definedOnly } from '../util/collections';

export interface Dependencies {
  readonly cloud: Cloud;
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Clock {
  /** Returns milliseconds since the epoch. */
  now(): number;
}

/** Single nodes, or every node of some clusters. `'*'` means all clusters. */
export type Selection = readonly NodeRef[] | { readonly clusters: readonly string[] };

export interface ReconcileOptions {
  readonly deadline: Deadline;
  readonly isDryRun?: boolean;
  /** Whether to push even if discovery found far fewer routes than it did for the rules in force. */
  readonly allowRouteLoss?: boolean;
  /** Whether to push also to nodes that have already proven the rule set, in case their rules were changed. */
  readonly force?: boolean;
  /** The IDs of the rule sets that an operator approved. A node is held if its plan has another ID. */
  readonly approved?: ReadonlyMap<NodeKey, string>;
  /** Whether to skip recently launched nodes, which are handled by their own events. */
  readonly skipNewNodes?: boolean;
  /** The time at which each node's event was sent. Nodes that have been proven since then are skipped. */
  readonly announcedAt?: ReadonlyMap<NodeKey, Date>;
}

export interface ReconcileResult extends DeliveryResult {
  /** The selected nodes that the cloud found. */
  readonly nodes: readonly Node[];
}

/**
 * Reconciles nodes: discovery, plan, push and proof. Every trigger calls this function, and each node gets the rule
 * set that the config and its network currently require.
 * @returns one outcome for each selected node, which is also logged
 * @throws PeermasqError for errors that affect all nodes, such as a missing permission or an unreachable API
 */
export async function reconcile(
  selection: Selection,
  dependencies: Dependencies,
  options: ReconcileOptions,
): Promise<ReconcileResult> {
  const { log, clock } = dependencies;
  try {
    const result = await reconcileSelection(selection, dependencies, options);
    // A sweep logs only nodes with changes, and counts all other nodes.
    const shouldLog = (outcome: Outcome) => hasChanged(outcome) && outcome.kind !== 'skipped';
    const logged = 'clusters' in selection ? result.outcomes.filter(shouldLog) : result.outcomes;
    logOutcomes(logged, log, clock.now());
    for (const error of result.errors) log.error('ReconcileFailed', errorFields(error));
    return result;
  } catch (error) {
    log.error('ReconcileFailed', errorFields(error));
    throw error;
  }
}

/** Reconciles like `reconcile`, but throws the first error. */
export async function reconcileOrThrow(
  selection: Selection,
  dependencies: Dependencies,
  options: ReconcileOptions,
): Promise<readonly Outcome[]> {
  const { outcomes, errors } = await reconcile(selection, dependencies, options);
  if (errors[0]) throw errors[0];
  return outcomes;
}

async function reconcileSelection(
  selection: Selection,
  dependencies: Dependencies,
  options: ReconcileOptions,
): Promise<ReconcileResult> {
  const { cloud, clock } = dependencies;
  const { deadline, announcedAt, skipNewNodes = false } = options;
  // The time is read before discovery: of two concurrent runs, the run with the older data must have the older
  // generation.
  const generation = clock.now();
  const nodes =
    'clusters' in selection
      ? await cloud.nodes.list(selection.clusters, deadline)
      : await cloud.nodes.get(distinct(selection), deadline);

  const alreadyProven = nodes.filter((node) => isProvenSince(node, announcedAt?.get(nodeKey(node.ref))));
  const newNodes = skipNewNodes ? nodes.filter((node) => isNew(node, generation)) : [];
  const skipped = new Set([...alreadyProven, ...newNodes]);
  const { decided, planned } = await planNodes(
    nodes.filter((node) => !skipped.has(node)),
    dependencies,
    { ...options, generation },
  );
  const delivered = await deliver(planned, dependencies, options);
  return {
    nodes,
    outcomes: [
      ...('clusters' in selection ? [] : notFoundOutcomes(selection, nodes)),
      ...alreadyProven.map(toRecordedOutcome),
      ...newNodes.map(toNewNodeOutcome),
      ...decided,
      ...delivered.outcomes,
    ],
    errors: delivered.errors,
  };
}

async function deliver(
  planned: readonly PlannedNode[],
  { cloud: { channel }, log }: Dependencies,
  { deadline, isDryRun = false, force = false }: ReconcileOptions,
): Promise<DeliveryResult> {
  if (isDryRun) return { outcomes: planned.map(toPlannedOutcome), errors: [] };
  return pushRuleSets(planned, { channel, log, deadline, force });
}

function isProvenSince({ recorded }: Node, since: Date | undefined): boolean {
  return since !== undefined && recorded?.isProven === true && (recorded.at ?? 0) >= since;
}

/** The time after launch during which a node is handled only by its own events. A sweep would only repeat the push. */
const gracePeriodMs = 180_000;

const isNew = ({ launchedAt, recorded }: Node, now: number): boolean =>
  recorded?.isProven !== true && launchedAt !== undefined && now - launchedAt.getTime() < gracePeriodMs;

const toNewNodeOutcome = (node: Node): Outcome => ({
  ...subjectOf(node),
  kind: 'pending',
  reason: 'The node has just been launched. Its own events handle it.',
  retryAfterSeconds: gracePeriodMs / 1_000,
});

const toRecordedOutcome = (node: Node): Outcome => ({
  ...subjectOf(node),
  kind: 'proven',
  ruleSetId: node.recorded?.ruleSetId ?? '',
  warnings: [],
  ...definedOnly({ ports: node.recorded?.ports }),
});

function distinct(refs: readonly NodeRef[]): NodeRef[] {
  return [...new Map(refs.map((ref) => [nodeKey(ref), ref])).values()];
}

/** The delay before a retry. APIs list an instance only some seconds after its event. */
const notVisibleRetrySeconds = 10;

/** Returns an outcome for each selected node that was not found. */
export function notFoundOutcomes(
  refs: readonly NodeRef[],
  found: readonly Node[],
  reason = 'The cloud does not list this instance (yet).',
): Outcome[] {
  const foundKeys = new Set(found.map(({ ref }) => nodeKey(ref)));
  return distinct(refs)
    .filter((ref) => !foundKeys.has(nodeKey(ref)))
    .map((node) => ({
      node,
      kind: 'pending',
      reason,
      retryAfterSeconds: notVisibleRetrySeconds,
      isAbsent: true,
    }));
}

interface EligibleNode {
  readonly node: Node;
  readonly cluster: ClusterConfig;
}

interface PlanOptions extends ReconcileOptions {
  readonly generation: number;
}

/** @returns outcomes for the nodes that need no push, and plans for all other nodes */
async function planNodes(
  nodes: readonly Node[],
  { config, cloud }: Dependencies,
  options: PlanOptions,
): Promise<{ decided: readonly Outcome[]; planned: readonly PlannedNode[] }> {
  const decided: Outcome[] = [];
  const eligible: EligibleNode[] = [];
  for (const node of nodes) {
    const eligibility = checkEligibility(node, config);
    const notReady = cloud.channel.checkReadiness(node);
    if (eligibility.kind === 'skip') decided.push({ node: node.ref, kind: 'skipped', skip: eligibility });
    else if (notReady)
      decided.push({ ...subjectIn(node, eligibility.cluster), kind: 'pending', ...notReady });
    else eligible.push({ node, cluster: eligibility.cluster });
  }
  if (eligible.length === 0) return { decided, planned: [] };

  const networkContexts = await cloud.routes.getNetworkContexts(
    eligible.map(({ node }) => node),
    [...new Set(eligible.flatMap(({ cluster }) => requestedKinds(cluster)))],
    options.deadline,
  );
  const planned: PlannedNode[] = [];
  for (const one of eligible) {
    const result = planNode(one, networkContexts.get(nodeKey(one.node.ref)), options);
    if ('plan' in result) planned.push(result);
    else decided.push(result);
  }
  return { decided, planned };
}

function planNode(
  { node, cluster }: EligibleNode,
  networkContext: NetworkContext | undefined,
  { generation, allowRouteLoss = false, approved }: PlanOptions,
): PlannedNode | Exclude<Outcome, { kind: 'planned' }> {
  const subject = subjectIn(node, cluster);
  if (!networkContext) {
    // Either the node was deleted in the meantime, or its network is not visible yet. The retry shows which of the two
    // happened.
    const reason = 'Cannot read the network of the node (yet).';
    return { ...subject, kind: 'pending', reason, retryAfterSeconds: notVisibleRetrySeconds };
  }
  const result = plan({ node, cluster, networkContext, generation, allowRouteLoss });
  switch (result.kind) {
    case 'skip':
      return { ...subject, kind: 'skipped', skip: result };
    case 'hold':
      return { ...subject, ...result, kind: 'held' };
    case 'rule-set': {
      const approvedId = approved?.get(nodeKey(node.ref));
      if (approvedId === undefined || approvedId === result.id)
        return { node, cluster: subject.cluster, plan: result };
      const detail = 'The plan has changed since it was approved. Run the command again to see the new plan.';
      return { ...subject, kind: 'held', detail, warnings: result.warnings };
    }
  }
}

/** Identifies the node by its own cluster name, because the name of the config entry may be `*`. */
function subjectIn(node: Node, { name }: ClusterConfig) {
  const cluster = node.clusters[0] ?? name;
  return { ...subjectOf(node, cluster), cluster };
}
