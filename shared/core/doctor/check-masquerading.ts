import { contains, parseAddress } from '../model/cidr';
import type { Explanation } from '../explain/explanation';
import type { Decision } from '../masquerading/decision';
import { definedOnly } from '../util/collections';
import type { CheckResult } from './check';
import type { Findings } from './findings';

/** Checks whether the packet leaves with a source address that the peer can reply to. */
export function checkMasquerading(findings: Findings): CheckResult {
  const { decision, rules } = findings;
  if (decision.verdict === 'not-needed') {
    const shown = rules instanceof Error || decision.code === 'from-node' ? [] : [rules.reason];
    return { state: 'not-needed', evidence: [...decision.evidence, ...shown] };
  }
  if (rules instanceof Error) return { state: 'unknown', evidence: [rules.message], fix: rules.advice };
  const whyNotReached = { dropped: 'dropped earlier', 'stays-on-node': 'the packet stays on the node' };
  if (rules.sources.length === 0 && (rules.cause === 'dropped' || rules.cause === 'stays-on-node')) {
    return { state: 'unknown', evidence: [`Not reached: ${whyNotReached[rules.cause]}. ${rules.reason}`] };
  }
  const state = stateOf(findings, rules);
  if (decision.verdict === 'unknown' && state !== 'ok') return unresolved(decision, rules);
  const fix = state === 'broken' ? fixFor(findings, rules) : undefined;
  return definedOnly({ state, evidence: [rules.reason, ...decisiveRules(rules), ...decision.evidence], fix });
}

/** The result for a packet that is not masqueraded if it is unknown whether masquerading is needed. */
function unresolved({ evidence, resolvedBy }: Decision, rules: Explanation): CheckResult {
  const next = resolvedBy === undefined ? [] : [`To check: ${resolvedBy}.`];
  return { state: 'unknown', evidence: [...evidence, ...next, rules.reason, ...decisiveRules(rules)] };
}

/** Checks the source address itself, because a NAT rule can also set an address that the peer cannot reply to. */
function stateOf({ networkContext }: Findings, rules: Explanation): 'ok' | 'broken' | 'unknown' {
  if (rules.masqueraded === 'unknown') return 'unknown';
  if (!rules.masqueraded || rules.cause === 'wrong-backend') return 'broken';
  const isAnswerable = (source: string) =>
    networkContext.networkRanges.some((range) => contains(range, parseAddress(source)));
  const answerable = rules.sources.filter(isAnswerable);
  if (answerable.length > 0) return answerable.length === rules.sources.length ? 'ok' : 'unknown';
  return rules.sources.length > 0 ? 'broken' : 'unknown';
}

/**
 * Returns a command that pushes the rule set if a push would fix the problem permanently, otherwise a command that adds
 * the missing rule.
 */
function fixFor(findings: Findings, rules: Explanation): string | undefined {
  const { outcome, destination, pod } = findings;
  const ruleFix = rules.fix ?? undefined;
  if (rules.cause === 'untracked') return ruleFix;
  const sources = outcome.kind === 'planned' ? outcome.plan.ruleSet.sources : [];
  if (pod && sources.length > 0 && !sources.some((range) => contains(range, pod))) {
    return `Add the range of ${pod.text} to the cluster's pods in peermasq.yaml, then: ${backfillCommand(findings)}`;
  }
  if (isPlanned(findings)) return backfillCommand(findings);
  if (rules.cause === 'exempt') {
    return `Remove ${destination.text} from the exempt ranges in peermasq.yaml (except, services), then: ${backfillCommand(findings)}`;
  }
  const change = isManaged(findings) ? configChange(findings) : undefined;
  return change === undefined ? ruleFix : `${change} in peermasq.yaml, then: ${backfillCommand(findings)}`;
}

/** Whether a config change alone would give the node a rule for the connection. */
const isManaged = ({ outcome }: Findings): boolean =>
  outcome.kind === 'planned' ||
  (outcome.kind === 'skipped' && ['pods-routed', 'nothing-to-masquerade'].includes(outcome.skip.reason));

/** Returns the config change after which the plan would masquerade the connection. */
function configChange({ decision, destination, pod }: Findings): string | undefined {
  switch (decision.initialCode) {
    case undefined:
      return undefined;
    case 'excepted-range':
      return `Remove ${destination.text} from except`;
    case 'unknown-pod-range':
      return `Add the range of ${pod?.text ?? 'the pod'} to pods`;
    case 'pods-outside-network':
      return `Add a cidr entry for ${destination.text} with even-if-routed: true to masquerade`;
    default:
      return `Add a cidr entry for ${destination.text} to masquerade`;
  }
}

/**
 * Returns the backfill command. The command includes `--force` if the recorded rule set is up to date. In that case the
 * node has lost rules that it had proven, and a plain backfill would skip it.
 */
export function backfillCommand({ outcome, node }: Findings): string {
  const force = outcome.kind === 'planned' && !outcome.isChange ? '--force ' : '';
  return `npx peermasq backfill ${force}--node ${node.ref.id}`;
}

/** Whether the planned rule set would masquerade the connection. */
export function isPlanned({ outcome, destination, pod }: Findings): boolean {
  if (outcome.kind !== 'planned' || !pod) return false;
  const { sources, destinations, exemptions } = outcome.plan.ruleSet;
  return (
    (sources.length === 0 || sources.some((range) => contains(range, pod))) &&
    destinations.some(({ cidr }) => contains(cidr, destination)) &&
    !exemptions.some(({ cidr }) => contains(cidr, destination))
  );
}

/** Returns the last rules that matched, as they appear in the dump. */
export const decisiveRules = ({ path }: Explanation): string[] =>
  path
    .filter(({ result, chain }) => result !== 'not-matched' && chain !== '')
    .slice(-3)
    .map(({ table, chain, rule, text }) => `${table} ${chain} ${rule}: ${text}`);
