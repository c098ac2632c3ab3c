import type { NodesJoined } from '../../../shared/aws/events/event';
import { completeLaunch, type LifecycleResult } from '../../../shared/aws/events/auto-scaling-launch';
import type { SkipReason } from '../../../shared/core/reconcile/check-eligibility';
import { formatError, PeermasqError } from '../../../shared/core/model/errors';
import { nodeKey } from '../../../shared/core/model/node';
import { errorFields, type Outcome } from '../../../shared/core/reconcile/outcome';
import { accountFor, log, settings } from './accounts';
import type { BatchContext, Retry } from './batch';

/**
 * If the launch gate is enabled and the event came from a launch hook, completes that hook.
 * @param outcomes the final outcome of each node of the event
 * @returns a retry when Auto Scaling could not be called
 */
export async function completeHeldLaunch(
  { launch, nodes: [node] }: NodesJoined,
  outcomes: readonly Outcome[],
  { location, deadline }: BatchContext,
): Promise<Retry | undefined> {
  if (!launch || !node || settings.launchGate === 'off') return undefined;
  const result = lifecycleResultFor(outcomes.find((outcome) => nodeKey(outcome.node) === nodeKey(node)));
  const fields = { cloud: 'aws', node: node.id, group: launch.group, hook: launch.hook, result };
  const { clients } = accountFor(node.account, location);
  try {
    const isAccepted = await completeLaunch(clients, launch, { result, deadline });
    log.info('LaunchCompleted', { ...fields, isAccepted });
    return undefined;
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    log.error('LaunchCompletionFailed', { ...fields, ...errorFields(error) });
    return { kind: 'retry', seconds: 10, reason: formatError(error) };
  }
}

/** Reasons for skipping a node that may nevertheless need rules. */
const unsafeSkips: ReadonlySet<SkipReason> = new Set(['ambiguous-cluster', 'bottlerocket']);

/** A node goes into service if it is proven or needs no rules. Otherwise, the launch gate setting decides. */
function lifecycleResultFor(outcome: Outcome | undefined): LifecycleResult {
  const isReady =
    outcome?.kind === 'proven' || (outcome?.kind === 'skipped' && !unsafeSkips.has(outcome.skip.reason));
  return isReady || settings.launchGate === 'continue' ? 'CONTINUE' : 'ABANDON';
}
