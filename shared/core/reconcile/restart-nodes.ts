import type { Deadline } from '../cloud';
import { clusterConfig } from '../model/config';
import { asPeermasqError } from '../model/errors';
import { nodeKey, type NodeRef } from '../model/node';
import { definedOnly } from '../util/collections';
import { logOutcomes, retryAfterSeconds, type Outcome } from './outcome';
import { reconcile, type Dependencies } from './reconcile';

export interface RestartOptions {
  readonly deadline: Deadline;
  /** Resolves after the given number of milliseconds. */
  readonly wait: (milliseconds: number) => Promise<unknown>;
}

/** The time limit for a reboot. A node that takes longer is assumed to have failed to boot. */
const bootTimeoutMs = 600_000;

/** The minimum remaining time for a restart to begin. */
const minRestartMs = 60_000;

/** The maximum pause between two reconciliations of a node that is booting. */
const maxPollSeconds = 5;

/**
 * Restarts nodes that need a reboot, if peermasq.yaml has `restart: {maxUnavailable: 1}`. The next node restarts only
 * after the previous one has proven its rules. Nodes on which the previous rule set is in force and proven are not
 * restarted. No node is restarted while another node of its cluster is unproven although it should be proven.
 * @param outcomes from reconciling all nodes of the clusters
 * @returns all outcomes, updated for the restarted nodes
 */
export async function restartWhereConfigured(
  outcomes: readonly Outcome[],
  dependencies: Dependencies,
  options: RestartOptions,
): Promise<readonly Outcome[]> {
  const results = new Map(outcomes.map((outcome) => [nodeKey(outcome.node), outcome]));
  const blockedClusters = new Set(outcomes.filter(isUnavailable).map(({ cluster }) => cluster));
  const hasTime = () => options.deadline - dependencies.clock.now() >= minRestartMs;
  for (const candidate of outcomes.filter((outcome) => shouldRestart(outcome, dependencies))) {
    if (blockedClusters.has(candidate.cluster) || !hasTime()) continue;
    const outcome = await restartOne(candidate, dependencies, options);
    results.set(nodeKey(candidate.node), outcome);
    if (outcome.kind !== 'proven') blockedClusters.add(candidate.cluster);
  }
  return [...results.values()];
}

/** Whether a node is considered unavailable. That includes a node whose restart has already failed. */
function isUnavailable(outcome: Outcome): boolean {
  if (outcome.kind === 'needs-reboot') return outcome.restart === 'already-tried';
  return outcome.kind === 'pending' || outcome.kind === 'failed';
}

function shouldRestart(outcome: Outcome, { config, cloud }: Dependencies): boolean {
  if (outcome.kind !== 'needs-reboot' || outcome.restart !== 'advised' || !cloud.channel.restart)
    return false;
  return clusterConfig(config, outcome.cluster ?? '')?.restart !== undefined;
}

async function restartOne(
  { node, cluster }: Outcome,
  dependencies: Dependencies,
  options: RestartOptions,
): Promise<Outcome> {
  try {
    return await restartAndWait(node, dependencies, options);
  } catch (error) {
    const subject = definedOnly({ node, cluster });
    const failed: Outcome = { ...subject, kind: 'failed', error: asPeermasqError(error) };
    logOutcomes([failed], dependencies.log, dependencies.clock.now());
    return failed;
  }
}

async function restartAndWait(
  ref: NodeRef,
  dependencies: Dependencies,
  { deadline, wait }: RestartOptions,
): Promise<Outcome> {
  const { cloud, clock, log } = dependencies;
  // Reconcile the node again, because its outcome may be minutes old.
  const before = await reconcileNode(ref, dependencies, deadline);
  const [node] = await cloud.nodes.get([ref], deadline);
  if (!node || !shouldRestart(before, dependencies)) return before;
  await cloud.channel.restart?.(node, deadline);
  log.warn('NodeRestarted', { cloud: ref.cloud, node: ref.id, cluster: before.cluster });
  const bootDeadline = Math.min(deadline, clock.now() + bootTimeoutMs);
  for (;;) {
    const outcome = await reconcileNode(ref, dependencies, bootDeadline);
    // The outcome is `needs-reboot` until the node has booted.
    const pollSeconds = outcome.kind === 'needs-reboot' ? maxPollSeconds : retryAfterSeconds(outcome);
    if (pollSeconds === undefined || clock.now() + pollSeconds * 1_000 >= bootDeadline) return outcome;
    await wait(Math.min(pollSeconds, maxPollSeconds) * 1_000);
  }
}

async function reconcileNode(ref: NodeRef, dependencies: Dependencies, deadline: Deadline): Promise<Outcome> {
  const { outcomes, errors } = await reconcile([ref], dependencies, { deadline });
  const [outcome] = outcomes;
  if (errors[0]) throw errors[0];
  if (!outcome) throw new Error(`Reconciling ${nodeKey(ref)} returned no outcome`);
  return outcome;
}
