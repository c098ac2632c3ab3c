import type { ParsedEvent } from '../../../shared/aws/events/parse-event';
import { completeLaunch, type LifecycleResult } from '../../../shared/aws/events/launch';
import type { SkipReason } from '../../../shared/core/reconcile/check-eligibility';
import { formatError, PeermasqError } from '../../../shared/core/model/errors';
import { nodeKey } from '../../../shared/core/model/node';
import { errorFields, type Outcome } from '../../../shared/core/reconcile/outcome';
import { accountFor, log, settings } from './accounts';
import type { Retry, BatchContext, QueuedEvent } from './batch';

type NodesJoined = Extract<ParsedEvent, { kind: 'nodes-joined' }>;

/**
 * Tells the Auto Scaling group whether the launch may go on, if there is one that waits and the gate is in use.
 * @param outcomes of the letter's nodes, none of which is looked at again
 * @returns when to try again, and why, where the group could not be told
 */
export async function completeHeldLaunch(
  { event }: QueuedEvent<NodesJoined>,
  outcomes: readonly Outcome[],
  { location, deadline }: BatchContext,
): Promise<Retry | undefined> {
  const { launch, nodes } = event;
  const [node] = nodes;
  if (!launch || !node || settings.launchGate === 'off') return undefined;
  const result = lifecycleResultFor(outcomes.find((outcome) => nodeKey(outcome.node) === nodeKey(node)));
  const fields = { cloud: 'aws', node: node.id, group: launch.group, hook: launch.hook, result };
  try {
    const isAccepted = await completeLaunch(
      accountFor(node.account, location).clients,
      launch,
      result,
      deadline,
    );
    log.info('LaunchCompleted', { ...fields, isAccepted });
    return undefined;
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    log.error('LaunchCompletionFailed', { ...fields, ...errorFields(error) });
    return { kind: 'retry', seconds: 10, reason: formatError(error) };
  }
}

/** Skipped, though they may need rules. */
const unsafeSkips: ReadonlySet<SkipReason> = new Set(['ambiguous-cluster', 'bottlerocket']);

/** A node that needs no rules may go into service; one that needs them and has none only if that was chosen. */
function lifecycleResultFor(outcome: Outcome | undefined): LifecycleResult {
  const isReady =
    outcome?.kind === 'proven' || (outcome?.kind === 'skipped' && !unsafeSkips.has(outcome.skip.reason));
  return isReady || settings.launchGate === 'continue' ? 'CONTINUE' : 'ABANDON';
}
