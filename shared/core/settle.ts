import type { PeermasqError } from './errors';
import { judge, type Meant } from './judge';
import { faultFields, type Outcome } from './outcome';
import type { Channel, Deadline, End, Log, Proof, Unrecorded } from './ports';

/** What came back from a push, and what was pushed. */
export interface Returned {
  readonly proof: Proof;
  readonly meant: Meant;
  readonly cluster?: string;
  readonly routes?: number;
}

/**
 * Judges what came back, and mirrors what has come to an end where the next look-up finds it.
 * @returns as faults what keeps anything at all from being mirrored: all nodes would be pushed to for ever
 */
export async function settle(
  returned: readonly Returned[],
  channel: Channel,
  log: Log,
  deadline: Deadline,
): Promise<{ outcomes: Outcome[]; faults: PeermasqError[] }> {
  const judged = returned.map((one) => ({ one, outcome: toOutcome(one) }));
  // A node that is busy, or has something newer, keeps the record it has.
  const ends = judged.flatMap(({ one, outcome }) =>
    outcome.kind === 'pending' ? [] : [toEnd(one, outcome)],
  );
  const unrecorded = await remember(ends, channel, log, deadline);
  return {
    outcomes: judged.map(({ outcome }) => outcome),
    faults: faultOf(unrecorded),
  };
}

/** What keeps anything at all from being mirrored. */
export const faultOf = (unrecorded: readonly Unrecorded[]): PeermasqError[] =>
  unrecorded
    .map(({ error }) => error)
    .filter(({ code }) => code === 'access-denied' || code === 'permission-denied')
    .slice(0, 1);

/** Mirrors ends; what could not be mirrored is logged. */
export async function remember(
  ends: readonly End[],
  channel: Channel,
  log: Log,
  deadline: Deadline,
): Promise<readonly Unrecorded[]> {
  const unrecorded = ends.length === 0 ? [] : await channel.remember(ends, deadline);
  for (const { node, error } of unrecorded) {
    log.warn('RecordFailed', { cloud: node.ref.cloud, node: node.ref.id, ...faultFields(error) });
  }
  return unrecorded;
}

function toOutcome({ proof, meant, cluster }: Returned): Outcome {
  const { ref, launchedAt } = proof.node;
  return {
    node: ref,
    ...(cluster !== undefined && { cluster }),
    ...(launchedAt && { launchedAt }),
    ...judge(proof, meant),
  };
}

function toEnd({ proof, routes }: Returned, { kind }: Outcome): End {
  const { node } = proof;
  const report = proof.result === 'reported' ? proof.report : undefined;
  const isApplied = report?.result === 'applied' || report?.result === 'unchanged';
  const known = isApplied ? routes : node.recorded?.routes;
  return {
    node,
    state: kind === 'proven' || kind === 'needs-reboot' ? kind : 'failed',
    ...(isApplied && report.id !== null && { ruleSetId: report.id }),
    ...(known !== undefined && { routes: known }),
  };
}
