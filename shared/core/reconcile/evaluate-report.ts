import type {
  Channel,
  Deadline,
  ProofResult,
  PushedNode,
  PushRecord,
  PushResult,
  RecordFailure,
} from '../cloud';
import type { Log } from '../log';
import { PermanentError, RetryableError, type PeermasqError } from '../model/errors';
import { formatReadBy, type ReasonCode, type Report } from '../model/report';
import { latestFormat, type RuleSetFormat } from '../model/rule-set';
import { definedOnly } from '../util/collections';
import type { Warning } from './check-eligibility';
import { errorFields, subjectOf, type Outcome, type Subject } from './outcome';

/** The rule set that the node was sent. */
export interface Expected {
  readonly id: string;
  readonly generation: number;
  /** Absent if the program that reads it was in the same command. */
  readonly format?: RuleSetFormat;
  readonly warnings: readonly Warning[];
}

type PushOutcomeKind = 'pending' | 'failed' | 'needs-reboot' | 'proven';
type WithoutSubject<T> = T extends unknown ? Omit<T, keyof Subject> : never;
export type PushOutcome = WithoutSubject<Extract<Outcome, { kind: PushOutcomeKind }>>;

/** The outcome of a push, from its proof or from its failure. */
export function outcomeOf(
  response: Exclude<PushResult, PushedNode> | ProofResult,
  expected: Expected,
): PushOutcome {
  switch (response.result) {
    case 'failed':
      return { kind: 'failed', error: response.error };
    case 'not-ready':
    case 'no-report':
      return { kind: 'pending', reason: response.reason, retryAfterSeconds: response.retryAfterSeconds };
    case 'no-watcher':
      return { kind: 'needs-reboot', reason: response.reason, restart: response.restart };
    case 'reported': {
      const { report } = response;
      const outcome = evaluateReport(report, expected);
      return outcome.kind === 'failed' ? { ...outcome, report } : outcome;
    }
  }
}

/** Whether a report proves the expected rule set. */
function evaluateReport(report: Report, expected: Expected): PushOutcome {
  const reason = report.reason ?? 'no reason given';
  switch (report.result) {
    case 'busy':
      return { kind: 'pending', reason: `The node is busy: ${reason}.`, retryAfterSeconds: 15 };
    case 'failed':
      return {
        kind: 'failed',
        error: new RetryableError('apply-failed', `The node could not apply the rule set: ${reason}`, {
          advice: 'The previous rules are still in force. Fix the cause; the push is retried.',
          retryAfterSeconds: 60,
        }),
      };
    case 'refused':
      return evaluateRefusal(report, { expected, reason });
    case 'applied':
    case 'unchanged':
      return evaluateApplied(report, { expected, reason });
  }
}

interface Evaluation {
  readonly expected: Expected;
  readonly reason: string;
}

function evaluateRefusal(report: Report, { expected, reason }: Evaluation): PushOutcome {
  const { generation } = report;
  // A concurrent push was faster, possibly with the same rules.
  if (generation !== null && generation >= expected.generation) {
    return { kind: 'pending', reason: 'The node already has a newer rule set.', retryAfterSeconds: 5 };
  }
  // The program that reads it is in the metadata too.
  const { format = 1 } = expected;
  if (formatReadBy(report) < format) {
    const detail = `The program on the node does not read format ${format} yet; the new one is in its metadata.`;
    return { kind: 'pending', reason: detail, retryAfterSeconds: 15 };
  }
  return {
    kind: 'failed',
    error: new PermanentError('refused', `The node refused the rule set: ${reason}`, {
      advice: 'Nothing was changed on the node. Fix the config and push again.',
    }),
  };
}

function evaluateApplied(report: Report, { expected, reason }: Evaluation): PushOutcome {
  const { id, warnings } = expected;
  if (report.id !== id)
    return { kind: 'pending', reason: 'The node reported another rule set.', retryAfterSeconds: 5 };
  if (report.proven && formatReadBy(report) < latestFormat) {
    return { kind: 'pending', reason: olderProgram, retryAfterSeconds: 15 };
  }
  if (report.proven) return { kind: 'proven', ruleSetId: id, report, warnings };
  return { kind: 'failed', error: notProvenError(report.code, reason) };
}

/** Google Cloud's watcher replaces the program within seconds; on AWS the document of the account has it. */
const olderProgram =
  "An older node program applied the rule set, and it did not check the path of pods' packets. On AWS, update the SSM document of the account.";

const adviceByReason: Record<ReasonCode, string> = {
  'paths-foreign-address':
    "Pods' traffic leaves through an interface whose address the peer cannot answer. Add a route to that range at the peer, or let the CNI masquerade.",
  'paths-unknown':
    'Run `peermasq explain` for a pod of the node: it shows the ip rules and marks on the path.',
  'no-forwarding': 'Set net.ipv4.ip_forward (for IPv6 net.ipv6.conf.all.forwarding) to 1 on the node.',
  'rp-filter':
    "Set net.ipv4.conf.INTERFACE.rp_filter to 2 on the interfaces that pods' traffic leaves through.",
  ebpf: "Configure the program that masquerades in eBPF: the nonMasqueradeCIDRs of Cilium's or GKE's ip-masq-agent config must not contain the destinations, or an egress NAT policy must cover them.",
  'ebpf-unreadable':
    'Check whether a CNI in eBPF masquerades on the node. If so, configure the destinations there.',
  'no-namespace':
    "Configure no probe, or run the node program where it may enter pods' network namespaces (as root, with nsenter).",
  'probe-failed': 'Check firewalls, the return route and the service itself.',
  'probe-unknown':
    'Install conntrack on the node. Allow pods to connect to the probe (network policies, sidecars), or configure another probe.',
  drift: 'Another program changes the rules. The node repairs them; find that program and stop it.',
};

/** A retry cannot help where the node has to be configured in another way. */
const permanentReasons: readonly string[] = [
  'ebpf',
  'ebpf-unreadable',
  'no-namespace',
] satisfies ReasonCode[];

const isReasonCode = (code: string): code is ReasonCode => Object.hasOwn(adviceByReason, code);

function notProvenError(code: string | undefined, reason: string): PeermasqError {
  const message = `The rules are applied but not proven: ${reason}`;
  const advice =
    code !== undefined && isReasonCode(code)
      ? adviceByReason[code]
      : `If a probe failed: ${adviceByReason['probe-failed']}`;
  return permanentReasons.includes(code ?? '')
    ? new PermanentError('not-proven', message, { advice })
    : new RetryableError('not-proven', message, { advice, retryAfterSeconds: 60 });
}

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
    // If nothing was applied, the rules in force are the earlier ones, and so is their route count.
    routes: isApplied ? routes : node.recorded?.routes,
  });
}
