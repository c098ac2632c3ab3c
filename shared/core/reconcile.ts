import type { PeermasqError } from './errors';
import { admit } from './admit';
import { kindsAskedFor, type ClusterConfig, type Config } from './config';
import { asDryRun, deliver, type Planned } from './deliver';
import { nodeKey, type Node, type NodeKey, type NodeRef } from './node';
import { faultFields, isNews, logOutcomes, type Outcome } from './outcome';
import { plan } from './plan';
import type { Clock, Cloud, Deadline, Log } from './ports';

export interface Dependencies {
  readonly cloud: Cloud;
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
}

/** Which nodes to look at: named by an event, or every node of some clusters (`'*'` for any). */
export type Selection = readonly NodeRef[] | { readonly clusters: readonly string[] };

export interface Options {
  readonly deadline: Deadline;
  readonly isDryRun?: boolean;
  /** Takes rules away though far fewer routes are found than they were made from. */
  readonly acceptsLoss?: boolean;
  /** Pushes also what nodes have proven: somebody may have changed their rules since. */
  readonly isAgain?: boolean;
  /** The rule sets that somebody agreed to, by id: a node that would get another one is held. */
  readonly agreed?: ReadonlyMap<NodeKey, string>;
  /** Leaves nodes that were launched a moment ago to the events that tell of them. */
  readonly leavesYoung?: boolean;
  /** When events told of nodes: one that has proven its rules since then needs no further look. */
  readonly toldAt?: ReadonlyMap<NodeKey, Date>;
}

/** An instance is visible to every API some seconds after the event that announces it. */
const notVisibleRetrySeconds = 10;

/** What became of each selected node, and what else went wrong. */
export interface Pass {
  /** Those that were found. */
  readonly nodes: readonly Node[];
  readonly outcomes: readonly Outcome[];
  /** What concerns more than one node and stays broken; the nodes that failed of it bear the same error. */
  readonly faults: readonly PeermasqError[];
}

/**
 * The one path of every trigger: nodes → inventory → plan → push → proof. It converges: whatever the events
 * said, each node ends with the rule set that its surroundings and the config ask for now.
 * @returns one outcome for each selected node, also logged.
 * @throws PeermasqError for what concerns all nodes: no permission, an unreachable API.
 */
export async function pass(
  selection: Selection,
  dependencies: Dependencies,
  options: Options,
): Promise<Pass> {
  const { log } = dependencies;
  try {
    const result = await lookAndDeliver(selection, dependencies, options);
    // A sweep tells of nodes only what nobody told before; the others it counts.
    const isTold = (outcome: Outcome) => isNews(outcome) && outcome.kind !== 'skipped';
    const told = 'clusters' in selection ? result.outcomes.filter(isTold) : result.outcomes;
    logOutcomes(told, log, dependencies.clock.now());
    for (const fault of result.faults) log.error('ReconcileFailed', faultFields(fault));
    return result;
  } catch (error) {
    log.error('ReconcileFailed', faultFields(error));
    throw error;
  }
}

/** As `pass`, for callers who have nobody to give single nodes back to. @throws PeermasqError also for a fault */
export async function reconcile(
  selection: Selection,
  dependencies: Dependencies,
  options: Options,
): Promise<readonly Outcome[]> {
  const { outcomes, faults } = await pass(selection, dependencies, options);
  if (faults[0]) throw faults[0];
  return outcomes;
}

async function lookAndDeliver(
  selection: Selection,
  dependencies: Dependencies,
  options: Options,
): Promise<Pass> {
  const { deadline, isDryRun = false, isAgain = false, leavesYoung = false, toldAt } = options;
  const { cloud, clock, log } = dependencies;
  // Taken before the first look-up, so that a look from before a change never beats a look from after it.
  const generation = clock.now();
  const nodes =
    'clusters' in selection
      ? await cloud.nodes.list(selection.clusters, deadline)
      : await cloud.nodes.get(unique(selection), deadline);

  const isLookedAt = (node: Node) => isProvenSince(node, toldAt?.get(nodeKey(node.ref)));
  const isLeft = (node: Node) => leavesYoung && isYoung(node, generation);
  const open = nodes.filter((node) => !isLookedAt(node) && !isLeft(node));
  const { decided, planned } = await planAll(open, dependencies, generation, options);
  const delivered: Omit<Pass, 'nodes'> = isDryRun
    ? { outcomes: planned.map(asDryRun), faults: [] }
    : await deliver(planned, cloud.channel, log, deadline, isAgain);
  const absent = 'clusters' in selection ? [] : notFound(selection, nodes);
  const lookedAt = nodes.filter(isLookedAt).map(asRecorded);
  return {
    nodes,
    outcomes: [
      ...absent,
      ...lookedAt,
      ...nodes.filter(isLeft).map(asLeft),
      ...decided,
      ...delivered.outcomes,
    ],
    faults: delivered.faults,
  };
}

function isProvenSince({ recorded }: Node, since: Date | undefined): boolean {
  return since !== undefined && recorded?.isProven === true && (recorded.at ?? 0) >= since;
}

/** Milliseconds within which events serve a new node, and a sweep beside them would only push twice. */
const youthMs = 180_000;

const isYoung = ({ launchedAt, recorded }: Node, now: number): boolean =>
  recorded?.isProven !== true && launchedAt !== undefined && now - launchedAt.getTime() < youthMs;

function asLeft({ ref, clusters: [cluster], launchedAt }: Node): Outcome {
  return {
    node: ref,
    ...(cluster !== undefined && { cluster }),
    ...(launchedAt && { launchedAt }),
    kind: 'pending',
    reason: 'It was launched a moment ago: the events that tell of it serve it.',
    retryAfterSeconds: youthMs / 1_000,
  };
}

function asRecorded({ ref, clusters: [cluster], recorded }: Node): Outcome {
  const ruleSetId = recorded?.ruleSetId ?? '';
  return { node: ref, ...(cluster !== undefined && { cluster }), kind: 'proven', ruleSetId, warnings: [] };
}

function unique(refs: readonly NodeRef[]): NodeRef[] {
  return [...new Map(refs.map((ref) => [nodeKey(ref), ref])).values()];
}

/** Of the nodes that were asked for those that did not come. */
export function notFound(
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
  { deadline, acceptsLoss = false, agreed }: Options,
): Promise<{ decided: Outcome[]; planned: Planned[] }> {
  const decided: Outcome[] = [];
  const admitted: { node: Node; cluster: ClusterConfig }[] = [];
  for (const node of nodes) {
    const admission = admit(node, config);
    const notYet = cloud.channel.notYet(node);
    if (admission.kind !== 'admitted') decided.push({ node: node.ref, kind: 'skipped', skip: admission });
    else if (notYet) decided.push({ ...whoIs(node, admission.cluster), kind: 'pending', ...notYet });
    else admitted.push({ node, cluster: admission.cluster });
  }

  const planned: Planned[] = [];
  if (admitted.length === 0) return { decided, planned };
  const surroundings = await cloud.routes.around(
    admitted.map(({ node }) => node),
    [...new Set(admitted.flatMap(({ cluster }) => kindsAskedFor(cluster)))],
    deadline,
  );
  for (const { node, cluster } of admitted) {
    const who = whoIs(node, cluster);
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
    const result = plan(node, cluster, around, generation, acceptsLoss);
    if (result.kind === 'skip') decided.push({ ...who, kind: 'skipped', skip: result });
    else if (result.kind === 'hold') decided.push({ ...who, ...result, kind: 'held' });
    else if (isOther(result.id, agreed?.get(nodeKey(node.ref))))
      decided.push({ ...who, ...notAgreed(result) });
    else planned.push({ node, cluster: who.cluster, plan: result });
  }
  return { decided, planned };
}

const isOther = (id: string, agreed: string | undefined): boolean => agreed !== undefined && agreed !== id;

const notAgreed = ({ warnings }: Pick<Planned['plan'], 'warnings'>) =>
  ({
    kind: 'held',
    detail: 'What it is to have has changed since its plan was shown: run it again to see the new one.',
    warnings,
  }) as const;

const whoIs = ({ ref, clusters, launchedAt }: Node, cluster: ClusterConfig) => ({
  node: ref,
  cluster: clusters[0] ?? cluster.name,
  ...(launchedAt && { launchedAt }),
});
