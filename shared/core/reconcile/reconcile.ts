import type { PeermasqError } from '../model/errors';
import { checkEligibility } from './check-eligibility';
import { requestedKinds, type ClusterConfig, type Config } from '../model/config';
import { toPlannedOutcome, pushRuleSets, type PlannedNode } from './push';
import { nodeKey, type Node, type NodeKey, type NodeRef } from '../model/node';
import { errorFields, hasChanged, logOutcomes, type Outcome } from './outcome';
import { plan } from './plan';
import type { Clock, Cloud, Deadline, Log } from '../cloud';

export interface Dependencies {
  readonly cloud: Cloud;
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
}

/** Which nodes to look at: named by an event, or every node of some clusters (`'*'` for any). */
export type Selection = readonly NodeRef[] | { readonly clusters: readonly string[] };

export interface ReconcileOptions {
  readonly deadline: Deadline;
  readonly isDryRun?: boolean;
  /** Takes rules away though far fewer routes are found than they were made from. */
  readonly allowRouteLoss?: boolean;
  /** Pushes also what nodes have proven: somebody may have changed their rules since. */
  readonly force?: boolean;
  /** The rule sets that somebody agreed to, by id: a node that would get another one is held. */
  readonly approved?: ReadonlyMap<NodeKey, string>;
  /** Leaves nodes that were launched a moment ago to the events that tell of them. */
  readonly skipNewNodes?: boolean;
  /** When events told of nodes: one that has proven its rules since then needs no further look. */
  readonly announcedAt?: ReadonlyMap<NodeKey, Date>;
}

/** An instance is visible to every API some seconds after the event that announces it. */
const notVisibleRetrySeconds = 10;

/** What became of each selected node, and what else went wrong. */
export interface ReconcileResult {
  /** Those that were found. */
  readonly nodes: readonly Node[];
  readonly outcomes: readonly Outcome[];
  /** What concerns more than one node and stays broken; the nodes that failed of it bear the same error. */
  readonly errors: readonly PeermasqError[];
}

/**
 * The one path of every trigger: nodes → inventory → plan → push → proof. It converges: whatever the events
 * said, each node ends with the rule set that its surroundings and the config ask for now.
 * @returns one outcome for each selected node, also logged.
 * @throws PeermasqError for what concerns all nodes: no permission, an unreachable API.
 */
export async function reconcile(
  selection: Selection,
  dependencies: Dependencies,
  options: ReconcileOptions,
): Promise<ReconcileResult> {
  const { log } = dependencies;
  try {
    const result = await reconcileSelection(selection, dependencies, options);
    // A sweep tells of nodes only what nobody told before; the others it counts.
    const shouldLog = (outcome: Outcome) => hasChanged(outcome) && outcome.kind !== 'skipped';
    const logged = 'clusters' in selection ? result.outcomes.filter(shouldLog) : result.outcomes;
    logOutcomes(logged, log, dependencies.clock.now());
    for (const error of result.errors) log.error('ReconcileFailed', errorFields(error));
    return result;
  } catch (error) {
    log.error('ReconcileFailed', errorFields(error));
    throw error;
  }
}

/** As `pass`, for callers who have nobody to give single nodes back to. @throws PeermasqError also for a fault */
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
  const { deadline, isDryRun = false, force = false, skipNewNodes = false, announcedAt } = options;
  const { cloud, clock, log } = dependencies;
  // Taken before the first look-up, so that a look from before a change never beats a look from after it.
  const generation = clock.now();
  const nodes =
    'clusters' in selection
      ? await cloud.nodes.list(selection.clusters, deadline)
      : await cloud.nodes.get(unique(selection), deadline);

  const isAlreadyProven = (node: Node) => isProvenSince(node, announcedAt?.get(nodeKey(node.ref)));
  const isSkippedNew = (node: Node) => skipNewNodes && isNew(node, generation);
  const open = nodes.filter((node) => !isAlreadyProven(node) && !isSkippedNew(node));
  const { decided, planned } = await planAll(open, dependencies, generation, options);
  const delivered: Omit<ReconcileResult, 'nodes'> = isDryRun
    ? { outcomes: planned.map(toPlannedOutcome), errors: [] }
    : await pushRuleSets(planned, cloud.channel, log, deadline, force);
  const absent = 'clusters' in selection ? [] : notFoundOutcomes(selection, nodes);
  const alreadyProven = nodes.filter(isAlreadyProven).map(toRecordedOutcome);
  return {
    nodes,
    outcomes: [
      ...absent,
      ...alreadyProven,
      ...nodes.filter(isSkippedNew).map(toNewNodeOutcome),
      ...decided,
      ...delivered.outcomes,
    ],
    errors: delivered.errors,
  };
}

function isProvenSince({ recorded }: Node, since: Date | undefined): boolean {
  return since !== undefined && recorded?.isProven === true && (recorded.at ?? 0) >= since;
}

/** Milliseconds within which events serve a new node, and a sweep beside them would only push twice. */
const gracePeriodMs = 180_000;

const isNew = ({ launchedAt, recorded }: Node, now: number): boolean =>
  recorded?.isProven !== true && launchedAt !== undefined && now - launchedAt.getTime() < gracePeriodMs;

function toNewNodeOutcome({ ref, clusters: [cluster], launchedAt }: Node): Outcome {
  return {
    node: ref,
    ...(cluster !== undefined && { cluster }),
    ...(launchedAt && { launchedAt }),
    kind: 'pending',
    reason: 'It was launched a moment ago: the events that tell of it serve it.',
    retryAfterSeconds: gracePeriodMs / 1_000,
  };
}

function toRecordedOutcome({ ref, clusters: [cluster], recorded }: Node): Outcome {
  const ruleSetId = recorded?.ruleSetId ?? '';
  return { node: ref, ...(cluster !== undefined && { cluster }), kind: 'proven', ruleSetId, warnings: [] };
}

function unique(refs: readonly NodeRef[]): NodeRef[] {
  return [...new Map(refs.map((ref) => [nodeKey(ref), ref])).values()];
}

/** Of the nodes that were asked for those that did not come. */
export function notFoundOutcomes(
  refs: readonly NodeRef[],
  nodes: readonly Node[],
  reason = 'The cloud does not show this instance (yet).',
): Outcome[] {
  const found = new Set(nodes.map(({ ref }) => nodeKey(ref)));
  return unique(refs)
    .filter((ref) => !found.has(nodeKey(ref)))
    .map((node) => ({
      node,
      kind: 'pending',
      reason,
      retryAfterSeconds: notVisibleRetrySeconds,
      isAbsent: true,
    }));
}

async function planAll(
  nodes: readonly Node[],
  { config, cloud }: Dependencies,
  generation: number,
  { deadline, allowRouteLoss = false, approved }: ReconcileOptions,
): Promise<{ decided: Outcome[]; planned: PlannedNode[] }> {
  const decided: Outcome[] = [];
  const eligible: { node: Node; cluster: ClusterConfig }[] = [];
  for (const node of nodes) {
    const eligibility = checkEligibility(node, config);
    const notReady = cloud.channel.checkReadiness(node);
    if (eligibility.kind !== 'eligible') decided.push({ node: node.ref, kind: 'skipped', skip: eligibility });
    else if (notReady)
      decided.push({ ...subjectOf(node, eligibility.cluster), kind: 'pending', ...notReady });
    else eligible.push({ node, cluster: eligibility.cluster });
  }

  const planned: PlannedNode[] = [];
  if (eligible.length === 0) return { decided, planned };
  const networkContexts = await cloud.routes.getNetworkContexts(
    eligible.map(({ node }) => node),
    [...new Set(eligible.flatMap(({ cluster }) => requestedKinds(cluster)))],
    deadline,
  );
  for (const { node, cluster } of eligible) {
    const subject = subjectOf(node, cluster);
    const networkContext = networkContexts.get(nodeKey(node.ref));
    if (!networkContext) {
      // It went away between the two look-ups; the next one says so.
      decided.push({
        ...subject,
        kind: 'pending',
        reason: 'Its network cannot be seen (yet).',
        retryAfterSeconds: notVisibleRetrySeconds,
      });
      continue;
    }
    const result = plan(node, cluster, networkContext, generation, allowRouteLoss);
    if (result.kind === 'skip') decided.push({ ...subject, kind: 'skipped', skip: result });
    else if (result.kind === 'hold') decided.push({ ...subject, ...result, kind: 'held' });
    else if (isDifferent(result.id, approved?.get(nodeKey(node.ref))))
      decided.push({ ...subject, ...notApproved(result) });
    else planned.push({ node, cluster: subject.cluster, plan: result });
  }
  return { decided, planned };
}

const isDifferent = (id: string, approved: string | undefined): boolean =>
  approved !== undefined && approved !== id;

const notApproved = ({ warnings }: Pick<PlannedNode['plan'], 'warnings'>) =>
  ({
    kind: 'held',
    detail: 'What it is to have has changed since its plan was shown: run it again to see the new one.',
    warnings,
  }) as const;

const subjectOf = ({ ref, clusters, launchedAt }: Node, cluster: ClusterConfig) => ({
  node: ref,
  cluster: clusters[0] ?? cluster.name,
  ...(launchedAt && { launchedAt }),
});
