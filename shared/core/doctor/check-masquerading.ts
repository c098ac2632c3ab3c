import { contains, parseAddress, type Address, type Cidr } from '../model/cidr';
import type { Explanation } from '../explain/explanation';
import type { NetworkContext } from '../model/node';
import { definedOnly } from '../util/collections';
import type { CheckResult } from './check';
import type { Findings } from './findings';

/** Does the packet leave with an address that the peer can answer? */
export function checkMasquerading(findings: Findings): CheckResult {
  const { pod, networkContext, rules } = findings;
  if (!pod) {
    const evidence = 'The connection starts on the node and uses its address.';
    return { state: 'not-needed', evidence: [evidence] };
  }
  if (isPodRouted(pod, networkContext)) {
    const evidence = `${networkContext.network} and its peers have routes to ${pod.text}.`;
    return {
      state: 'not-needed',
      evidence: [evidence, ...(rules instanceof Error ? [] : [rules.reason])],
    };
  }
  if (rules instanceof Error) return { state: 'unknown', evidence: [rules.message], fix: rules.advice };
  const whyNotReached = { dropped: 'dropped earlier', 'stays-on-node': 'the packet stays on the node' };
  if (rules.sources.length === 0 && (rules.cause === 'dropped' || rules.cause === 'stays-on-node')) {
    return { state: 'unknown', evidence: [`Not reached: ${whyNotReached[rules.cause]}. ${rules.reason}`] };
  }
  const state = stateOf(findings, rules);
  const fix = state === 'broken' ? fixFor(findings, rules) : undefined;
  return definedOnly({ state, evidence: [rules.reason, ...decisiveRules(rules)], fix });
}

/** Peers have routes to the pod, so its packets can keep their source address. */
export function isPodRouted(pod: Address, networkContext: NetworkContext): boolean {
  const containsPod = (range: Cidr) => contains(range, pod);
  return networkContext.routedPodRanges.some(containsPod) || networkContext.networkRanges.some(containsPod);
}

/** A NAT rule can also set a source that the peer cannot answer, so the new source counts. */
function stateOf({ networkContext }: Findings, rules: Explanation): 'ok' | 'broken' | 'unknown' {
  if (rules.masqueraded === 'unknown') return 'unknown';
  if (!rules.masqueraded || rules.cause === 'wrong-backend') return 'broken';
  const isAnswerable = (source: string) =>
    networkContext.networkRanges.some((range) => contains(range, parseAddress(source)));
  const answerable = rules.sources.filter(isAnswerable);
  if (answerable.length > 0) return answerable.length === rules.sources.length ? 'ok' : 'unknown';
  return rules.sources.length > 0 ? 'broken' : 'unknown';
}

/** A push if it would fix this for good, otherwise the missing rule itself. */
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
  return ruleFix;
}

/** `--force` if the record says that nothing changed: the node has lost rules that it had proven. */
export function backfillCommand({ outcome, node }: Findings): string {
  const force = outcome.kind === 'planned' && !outcome.isChange ? '--force ' : '';
  return `npx peermasq backfill ${force}--node ${node.ref.id}`;
}

/** Would the planned rule set masquerade the connection? */
export function isPlanned({ outcome, destination }: Findings): boolean {
  if (outcome.kind !== 'planned') return false;
  const { destinations, exemptions } = outcome.plan.ruleSet;
  return (
    destinations.some(({ cidr }) => contains(cidr, destination)) &&
    !exemptions.some(({ cidr }) => contains(cidr, destination))
  );
}

/** The last rules that matched, as the dump shows them. */
export const decisiveRules = ({ path }: Explanation): string[] =>
  path
    .filter(({ result, chain }) => result !== 'not-matched' && chain !== '')
    .slice(-3)
    .map(({ table, chain, rule, text }) => `${table} ${chain} ${rule}: ${text}`);
