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
import { isFromFuture, latestFormat, type RuleSetFormat } from '../model/rule-set';
import { definedOnly } from '../util/collections';
import type { Warning } from './check-eligibility';
import { errorFields, subjectOf, type Outcome, type Subject } from './outcome';

/** The rule set that was sent to the node. */
export interface Expected {
  readonly id: string;
  readonly generation: number;
  /** The format of the rule set. Absent if the same command also delivered the node program. */
  readonly format?: RuleSetFormat;
  readonly warnings: readonly Warning[];
}

type PushOutcomeKind = 'pending' | 'failed' | 'needs-reboot' | 'proven';
type WithoutSubject<T> = T extends unknown ? Omit<T, keyof Subject> : never;
export type PushOutcome = WithoutSubject<Extract<Outcome, { kind: PushOutcomeKind }>>;

/** Determines the outcome of a push from its proof, or from its failure. */
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

/** Evaluates whether a report proves the expected rule set. */
function evaluateReport(report: Report, expected: Expected): PushOutcome {
  const reason = report.reason ?? 'no reason given';
  switch (report.result) {
    case 'busy':
      return { kind: 'pending', reason: `The node is busy: ${reason}.`, retryAfterSeconds: 15 };
    case 'failed':
      return {
        kind: 'failed',
        error: new RetryableError('apply-failed', `The node could not apply the rule set: ${reason}`, {
          advice:
            'The previous rules are still in force. Fix the cause; the functions retry the push automatically.',
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
  if (generation !== null && isFromFuture(generation, expected.generation)) {
    return { kind: 'failed', error: newerRuleSetsRefused(generation) };
  }
  if (report.code === 'clock-skew') return { kind: 'failed', error: refusedAsFromFuture(reason) };
  // A concurrent push reached the node first, possibly with the same rules.
  if (generation !== null && generation >= expected.generation) {
    return { kind: 'pending', reason: 'The node already has a newer rule set.', retryAfterSeconds: 5 };
  }
  // The instance metadata also contains a node program that can read this format.
  const { format = 1 } = expected;
  if (formatReadBy(report) < format) {
    const detail = `The program on the node cannot read format ${format} yet; an updated program is in the node's metadata.`;
    return { kind: 'pending', reason: detail, retryAfterSeconds: 15 };
  }
  return {
    kind: 'failed',
    error: new PermanentError('refused', `The node refused the rule set: ${reason}`, {
      advice: 'Nothing was changed on the node. Fix the config and push again.',
    }),
  };
}

/** The generation is not part of a rule set's ID, so the rules stay in force. */
export const resetGeneration =
  "run `sudo sed -i '2s/.*/generation 1/' /var/lib/peermasq/ruleset` on the node, which keeps its rules in force, and push again.";

const describeFuture = (generation: number): string =>
  `The node has a rule set from the future in force (${new Date(generation).toISOString()}), so it refuses every newer one`;

const newerRuleSetsRefused = (generation: number) =>
  new PermanentError('clock-skew', describeFuture(generation), {
    advice: `Find and correct the clock that planned it (a function's, or that of an operator's machine). Then ${resetGeneration}`,
  });

const refusedAsFromFuture = (reason: string) =>
  new RetryableError('clock-skew', `The node refused the rule set: ${reason}`, {
    advice:
      'Compare the clock of the node (`date -u`, `chronyc tracking`) with that of the function or operator that planned the rule set. The push is repeated.',
    retryAfterSeconds: 60,
  });

function evaluateApplied(report: Report, { expected, reason }: Evaluation): PushOutcome {
  const { id, generation, warnings } = expected;
  if (report.id !== id)
    return { kind: 'pending', reason: 'The node reported another rule set.', retryAfterSeconds: 5 };
  if (report.proven && formatReadBy(report) < latestFormat) {
    return { kind: 'pending', reason: olderProgram, retryAfterSeconds: 15 };
  }
  if (report.proven) {
    const skew = clockSkewWarnings(report.generation ?? 0, generation);
    return { kind: 'proven', ruleSetId: id, report, warnings: [...warnings, ...skew] };
  }
  return { kind: 'failed', error: notProvenError(report.code, reason) };
}

function clockSkewWarnings(inForce: number, expected: number): Warning[] {
  if (!isFromFuture(inForce, expected)) return [];
  return [{ code: 'clock-skew', detail: `${describeFuture(inForce)}. To change that, ${resetGeneration}` }];
}

/**
 * On Google Cloud, the watcher replaces an outdated program within seconds. On AWS, the program is part of the
 * account's SSM document.
 */
const olderProgram =
  "The rule set was applied by an outdated node program, which does not check the path of pods' packets. On AWS, update the SSM document of the account.";

const adviceByReason: Record<ReasonCode, string> = {
  'paths-foreign-address':
    "Pods' traffic leaves through an interface whose address the peer cannot reply to. Add a route to that range at the peer, or let the CNI masquerade.",
  'paths-unknown':
    'Run `peermasq explain` for a pod of the node: it shows the ip rules and marks on the path.',
  'steering-bypassed':
    "Install nft (package nftables) on the node. If the rule belongs to Calico, setting Felix's `iptablesMangleAllowAction` to `Return` also works.",
  'no-forwarding': 'Set net.ipv4.ip_forward (for IPv6 net.ipv6.conf.all.forwarding) to 1 on the node.',
  'rp-filter':
    "Set net.ipv4.conf.INTERFACE.rp_filter to 2 for each interface through which pods' traffic leaves.",
  ebpf: 'Configure the program that masquerades in eBPF. Either remove the destinations from nonMasqueradeCIDRs in the ip-masq-agent config of Cilium or GKE, or add an egress NAT policy that covers them.',
  'ebpf-unreadable':
    'Check whether a CNI plugin masquerades in eBPF on the node. If so, configure the destinations in that plugin.',
  'no-namespace':
    "Remove the probes from the config, or run the node program with permission to enter pods' network namespaces (as root, with nsenter).",
  'probe-failed': 'Check firewalls, the return route and the service itself.',
  'probe-unknown':
    'Install conntrack on the node. Allow pods to connect to the probe (network policies, sidecars), or configure another probe.',
  'clock-skew': 'Compare the clock of the node with that of the functions.',
  drift:
    'Another program changes the rules. The node repairs its rules each time; find the other program and stop it.',
};

/** Reasons that a retry cannot resolve, because the configuration of the node has to change. */
const permanentReasons: readonly string[] = [
  'steering-bypassed',
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

/** The proof of a push, and the rule set that was pushed. */
export interface PushResponse {
  readonly proof: ProofResult;
  readonly expected: Expected;
  readonly cluster?: string;
  readonly routes?: number;
}

export interface DeliveryResult {
  readonly outcomes: readonly Outcome[];
  /** Errors that affect more than one node and that a retry does not fix. */
  readonly errors: readonly PeermasqError[];
}

/** Evaluates proofs, and records the final outcomes in the cloud. */
export async function recordOutcomes(
  responses: readonly PushResponse[],
  context: DeliveryContext,
): Promise<DeliveryResult> {
  const evaluated = responses.map((response) => ({ response, outcome: toOutcome(response) }));
  // A node with a pending outcome keeps its previous record.
  const records = evaluated
    .filter(({ outcome }) => outcome.kind !== 'pending')
    .map(({ response, outcome }) => toPushRecord(response, outcome));
  const failures = await writeRecords(records, context);
  return { outcomes: evaluated.map(({ outcome }) => outcome), errors: permissionErrorIn(failures) };
}

/**
 * Returns the first permission error. Without permission to write records, every sweep would push to all nodes again;
 * reporting one error is enough.
 */
export const permissionErrorIn = (failures: readonly RecordFailure[]): PeermasqError[] =>
  failures
    .map(({ error }) => error)
    .filter(({ code }) => code === 'access-denied' || code === 'permission-denied')
    .slice(0, 1);

/** Writes records, and logs each record that could not be written. */
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

function toPushRecord({ proof, routes }: PushResponse, outcome: Outcome): PushRecord {
  const { kind } = outcome;
  const { node } = proof;
  const report = proof.result === 'reported' ? proof.report : undefined;
  const isApplied = report?.result === 'applied' || report?.result === 'unchanged';
  return definedOnly({
    node,
    code: kind === 'failed' && outcome.error.code === 'clock-skew' ? ('clock-skew' as const) : undefined,
    state: kind === 'proven' || kind === 'needs-reboot' ? kind : ('failed' as const),
    ruleSetId: isApplied ? (report.id ?? undefined) : undefined,
    // If nothing was applied, the previous rules stay in force, so the previous route count stays valid.
    routes: isApplied ? routes : node.recorded?.routes,
  });
}
