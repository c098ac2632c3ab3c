import type { AwsEvent } from '../../shared/aws/events';
import { completeLaunch, type Verdict } from '../../shared/aws/launch';
import type { SkipReason } from '../../shared/core/admit';
import { inWords, PeermasqError } from '../../shared/core/errors';
import { nodeKey } from '../../shared/core/node';
import { faultFields, type Outcome } from '../../shared/core/outcome';
import { accountFor, log, settings } from './accounts';
import type { Again, Batch, Letter } from './batch';

type Joined = Extract<AwsEvent, { kind: 'nodes-joined' }>;

/**
 * Tells the Auto Scaling group whether the launch may go on, if there is one that waits and the gate is in use.
 * @param outcomes of the letter's nodes, none of which is looked at again
 * @returns when to try again, and why, where the group could not be told
 */
export async function completeLaunchOf(
  { event }: Letter<Joined>,
  outcomes: readonly Outcome[],
  { home, deadline }: Batch,
): Promise<Again | undefined> {
  const { launch, nodes } = event;
  const [node] = nodes;
  if (!launch || !node || settings.launchGate === 'off') return undefined;
  const verdict = verdictOn(outcomes.find((outcome) => nodeKey(outcome.node) === nodeKey(node)));
  const fields = { cloud: 'aws', node: node.id, group: launch.group, hook: launch.hook, verdict };
  try {
    const isTold = await completeLaunch(accountFor(node.account, home).clients, launch, verdict, deadline);
    log.info('LaunchCompleted', { ...fields, isTold });
    return undefined;
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    log.error('LaunchNotCompleted', { ...fields, ...faultFields(error) });
    return { kind: 'again', seconds: 10, reason: inWords(error) };
  }
}

/** Skipped, though they may need rules. */
const unserved: ReadonlySet<SkipReason> = new Set(['ambiguous-cluster', 'bottlerocket']);

/** A node that needs no rules may go into service; one that needs them and has none only if that was chosen. */
function verdictOn(outcome: Outcome | undefined): Verdict {
  const isServed =
    outcome?.kind === 'proven' || (outcome?.kind === 'skipped' && !unserved.has(outcome.skip.reason));
  return isServed || settings.launchGate === 'continue' ? 'CONTINUE' : 'ABANDON';
}
