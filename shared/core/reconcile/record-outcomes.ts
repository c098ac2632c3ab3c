import type { Channel, Deadline, ProofResult, PushRecord, RecordFailure } from '../cloud';
import type { Log } from '../log';
import type { PeermasqError } from '../model/errors';
import { definedOnly } from '../util/collections';
import { outcomeOf, type Expected } from './evaluate-report';
import { errorFields, subjectOf, type Outcome } from './outcome';

export interface DeliveryContext {
  readonly channel: Channel;
  readonly log: Log;
  readonly deadline: Deadline;
}

/** The proof of a push, and what was pushed. */
export interface PushResponse {
  readonly proof: ProofResult;
  readonly expected: Expected;
  readonly cluster?: string;
  readonly routes?: number;
}

export interface DeliveryResult {
  readonly outcomes: readonly Outcome[];
  /** Errors that affect more than one node and do not go away. */
  readonly errors: readonly PeermasqError[];
}

/** Evaluates proofs, and records the final outcomes in the cloud. */
export async function recordOutcomes(
  responses: readonly PushResponse[],
  context: DeliveryContext,
): Promise<DeliveryResult> {
  const evaluated = responses.map((response) => ({ response, outcome: toOutcome(response) }));
  // A pending node keeps its record.
  const records = evaluated
    .filter(({ outcome }) => outcome.kind !== 'pending')
    .map(({ response, outcome }) => toPushRecord(response, outcome));
  const failures = await writeRecords(records, context);
  return { outcomes: evaluated.map(({ outcome }) => outcome), errors: permissionErrorIn(failures) };
}

/** Without permission to record, every sweep would push to all nodes again. One such error is enough to report. */
export const permissionErrorIn = (failures: readonly RecordFailure[]): PeermasqError[] =>
  failures
    .map(({ error }) => error)
    .filter(({ code }) => code === 'access-denied' || code === 'permission-denied')
    .slice(0, 1);

/** Writes records, and logs those that could not be written. */
export async function writeRecords(
  records: readonly PushRecord[],
  { channel, log, deadline }: DeliveryContext,
): Promise<readonly RecordFailure[]> {
  const failures = records.length === 0 ? [] : await channel.writeRecords(records, deadline);
  for (const { node, error } of failures) {
    log.warn('RecordFailed', { cloud: node.ref.cloud, node: node.ref.id, ...errorFields(error) });
  }
  return failures;
}

const toOutcome = ({ proof, expected, cluster }: PushResponse): Outcome => ({
  ...subjectOf(proof.node, cluster),
  ...outcomeOf(proof, expected),
});

function toPushRecord({ proof, routes }: PushResponse, { kind }: Outcome): PushRecord {
  const { node } = proof;
  const report = proof.result === 'reported' ? proof.report : undefined;
  const isApplied = report?.result === 'applied' || report?.result === 'unchanged';
  return definedOnly({
    node,
    state: kind === 'proven' || kind === 'needs-reboot' ? kind : ('failed' as const),
    ruleSetId: isApplied ? (report.id ?? undefined) : undefined,
    // If nothing was applied, the rules in force are from as many routes as before.
    routes: isApplied ? routes : node.recorded?.routes,
  });
}
