import type { PeermasqError } from '../model/errors';
import { outcomeOf, type Expected } from './evaluate-report';
import { errorFields, type Outcome } from './outcome';
import type { Channel, Deadline, PushRecord, Log, ProofResult, RecordFailure } from '../cloud';

/** What came back from a push, and what was pushed. */
export interface PushResponse {
  readonly proof: ProofResult;
  readonly expected: Expected;
  readonly cluster?: string;
  readonly routes?: number;
}

/**
 * Judges what came back, and mirrors what has come to an end where the next look-up finds it.
 * @returns as faults what keeps anything at all from being mirrored: all nodes would be pushed to for ever
 */
export async function recordOutcomes(
  responses: readonly PushResponse[],
  channel: Channel,
  log: Log,
  deadline: Deadline,
): Promise<{ outcomes: Outcome[]; errors: PeermasqError[] }> {
  const evaluated = responses.map((one) => ({ one, outcome: toOutcome(one) }));
  // A node that is busy, or has something newer, keeps the record it has.
  const records = evaluated.flatMap(({ one, outcome }) =>
    outcome.kind === 'pending' ? [] : [toPushRecord(one, outcome)],
  );
  const recordFailures = await writeRecords(records, channel, log, deadline);
  return {
    outcomes: evaluated.map(({ outcome }) => outcome),
    errors: permissionErrorIn(recordFailures),
  };
}

/** What keeps anything at all from being mirrored. */
export const permissionErrorIn = (recordFailures: readonly RecordFailure[]): PeermasqError[] =>
  recordFailures
    .map(({ error }) => error)
    .filter(({ code }) => code === 'access-denied' || code === 'permission-denied')
    .slice(0, 1);

/** Mirrors ends; what could not be mirrored is logged. */
export async function writeRecords(
  records: readonly PushRecord[],
  channel: Channel,
  log: Log,
  deadline: Deadline,
): Promise<readonly RecordFailure[]> {
  const recordFailures = records.length === 0 ? [] : await channel.writeRecords(records, deadline);
  for (const { node, error } of recordFailures) {
    log.warn('RecordFailed', { cloud: node.ref.cloud, node: node.ref.id, ...errorFields(error) });
  }
  return recordFailures;
}

function toOutcome({ proof, expected, cluster }: PushResponse): Outcome {
  const { ref, launchedAt } = proof.node;
  return {
    node: ref,
    ...(cluster !== undefined && { cluster }),
    ...(launchedAt && { launchedAt }),
    ...outcomeOf(proof, expected),
  };
}

function toPushRecord({ proof, routes }: PushResponse, { kind }: Outcome): PushRecord {
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
