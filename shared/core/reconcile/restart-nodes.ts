import { clusterConfig } from '../model/config';
import { PeermasqError } from '../model/errors';
import { nodeKey, type NodeRef } from '../model/node';
import { logOutcomes, retryAfterSeconds, type Outcome } from './outcome';
import type { Deadline } from '../cloud';
import { reconcile, type Dependencies } from './reconcile';

/** A node that has not come back by then is no reason to restart another one. */
const bootTimeoutMs = 600_000;

/** A restart that is begun needs some time to be seen through. */
const minRestartMs = 60_000;

/**
 * Restarts nodes that need it, where peermasq.yaml says `restart: {maxUnavailable: 1}`: one, and when that has
 * proven its rules the next. One that still serves an older, proven rule set is left alone, and while another
 * node of the cluster is not proven though nothing keeps it from that, none is restarted.
 * @param outcomes of a pass over all nodes of the clusters
 * @param wait resolves after so many milliseconds
 * @returns those outcomes, with what became of the nodes that were restarted
 */
export async function restartWhereConfigured(
  outcomes: readonly Outcome[],
  dependencies: Dependencies,
  deadline: Deadline,
  wait: (milliseconds: number) => Promise<unknown>,
): Promise<readonly Outcome[]> {
  const results = new Map(outcomes.map((outcome) => [nodeKey(outcome.node), outcome]));
  const blockedClusters = new Set(outcomes.filter(isUnavailable).map(({ cluster }) => cluster));
  for (const candidate of outcomes.filter((outcome) => shouldRestart(outcome, dependencies))) {
    if (blockedClusters.has(candidate.cluster) || deadline - dependencies.clock.now() < minRestartMs)
      continue;
    const outcome = await restartOne(candidate, dependencies, deadline, wait);
    results.set(nodeKey(candidate.node), outcome);
    if (outcome.kind !== 'proven') blockedClusters.add(candidate.cluster);
  }
  return [...results.values()];
}

/** One that was restarted in vain is as good as gone. */
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
  candidate: Outcome,
  dependencies: Dependencies,
  deadline: Deadline,
  wait: (milliseconds: number) => Promise<unknown>,
): Promise<Outcome> {
  try {
    return await restartAndWait(candidate.node, dependencies, deadline, wait);
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    const { node, cluster } = candidate;
    const failed: Outcome = { node, ...(cluster !== undefined && { cluster }), kind: 'failed', error };
    logOutcomes([failed], dependencies.log, dependencies.clock.now());
    return failed;
  }
}

/** Looks once more before, because the pass may have taken minutes, and then until the node has proven its rules. */
async function restartAndWait(
  ref: NodeRef,
  dependencies: Dependencies,
  deadline: Deadline,
  wait: (milliseconds: number) => Promise<unknown>,
): Promise<Outcome> {
  const { cloud, clock, log } = dependencies;
  const before = await reconcileNode(ref, dependencies, deadline);
  const [node] = await cloud.nodes.get([ref], deadline);
  if (!node || !shouldRestart(before, dependencies)) return before;
  await cloud.channel.restart?.(node, deadline);
  log.warn('NodeRestarted', { cloud: ref.cloud, node: ref.id, cluster: before.cluster });
  const restartDeadline = Math.min(deadline, clock.now() + bootTimeoutMs);
  for (;;) {
    const outcome = await reconcileNode(ref, dependencies, restartDeadline);
    // Until it has booted, it is silent as it was before.
    const pollSeconds = outcome.kind === 'needs-reboot' ? maxPollSeconds : retryAfterSeconds(outcome);
    if (pollSeconds === undefined || clock.now() + pollSeconds * 1_000 >= restartDeadline) return outcome;
    await wait(Math.min(pollSeconds, maxPollSeconds) * 1_000);
  }
}

/** A look waits for the report by itself; this is between looks that cannot. */
const maxPollSeconds = 5;

async function reconcileNode(ref: NodeRef, dependencies: Dependencies, deadline: Deadline): Promise<Outcome> {
  const { outcomes, errors } = await reconcile([ref], dependencies, { deadline });
  const [outcome] = outcomes;
  if (errors[0]) throw errors[0];
  if (!outcome) throw new Error(`A pass over ${nodeKey(ref)} told nothing`);
  return outcome;
}
