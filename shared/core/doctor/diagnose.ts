import { backfillCommand, checkMasquerading, decisiveRules, isPlanned } from './check-masquerading';
import type { Check, CheckResult } from './check';
import type { Diagnosis, Findings } from './findings';
import type { SocketAddress } from '../explain/explanation';
import type { Node } from '../model/node';
import { printProbe } from '../model/rule-set';
import { shellQuote } from '../util/shell';
import { formatError } from '../model/errors';
import { sourcePortsEvidence } from './source-ports';
import { reasonOf } from '../reconcile/outcome';

/** Runs the checks that an operator would make manually, in the same order, and finds the first broken one. */
export function diagnose(findings: Findings): Diagnosis {
  const insideCluster = insideClusterEvidence(findings);
  const unlessInsideCluster = (check: Check): Check =>
    insideCluster === undefined
      ? check
      : { name: check.name, state: 'not-needed', evidence: [insideCluster] };
  const reach = findings.reach.map((check) => limitToOneDestination(findings, check));
  const ports = sourcePortsEvidence(findings);
  const { evidence, ...masquerades } = checkMasquerading(findings);
  const masquerading = unlessInsideCluster({
    name: 'masquerading',
    ...masquerades,
    evidence: [...evidence, ...ports],
  });
  const checks: Check[] = [
    { name: 'node', ...checkNode(findings) },
    ...reach.map(unlessInsideCluster),
    masquerading,
    { name: 'proof', ...checkProof(findings, masquerading) },
  ];
  const broken = checks.find(({ state }) => state === 'broken') ?? null;
  return { checks, broken, verdict: [verdictOf(checks, broken), ...ports].join(' ') };
}

/**
 * Returns evidence that the destination is inside the cluster. Undefined if the destination is outside, or if the cloud
 * routes to it over a peering anyway.
 */
function insideClusterEvidence({ decision, reach }: Findings): string | undefined {
  const isRoutedByCloud = reach.some(({ name, state }) => name === 'peering' && state !== 'broken');
  if (decision.code !== 'inside-cluster' || isRoutedByCloud) return undefined;
  return `${decision.evidence[0]} Check kube-proxy, the CNI plugin and network policies.`;
}

/**
 * Makes a check `unknown` if the packet may reach more than one destination, because the cloud was queried about only
 * one destination.
 */
function limitToOneDestination(findings: Findings, check: Check): Check {
  const { rules } = findings;
  if (rules instanceof Error) return check;
  const isDestinationCertain =
    rules.destinations.length <= 1 &&
    rules.destinations.every(({ address, port }) => address !== null && port !== null);
  if (isDestinationCertain) return check;
  return {
    name: check.name,
    state: 'unknown',
    evidence: [...redirectionEvidence(findings), ...check.evidence],
  };
}

function verdictOf(checks: readonly Check[], broken: Check | null): string {
  if (broken) return `The first broken check is ${broken.name}: ${broken.evidence[0] ?? ''}`;
  const unknown = checks.filter(({ state }) => state === 'unknown').map(({ name }) => name);
  const masquerading = checks.find(({ name }) => name === 'masquerading');
  const sentences = [
    'No problems found.',
    ...(unknown.length > 0 ? [`Could not check: ${unknown.join(', ')}.`] : []),
    ...(masquerading?.state === 'not-needed'
      ? [`Masquerading is not needed: ${masquerading.evidence[0] ?? ''}`]
      : []),
    ...(unknown.length === 0 ? ['If the connection still fails, check the service itself.'] : []),
  ];
  return sentences.join(' ');
}

/** Checks whether the node is running, and whether any rule on it drops the packet. */
export function checkNode(findings: Findings): CheckResult {
  const { node, outcome, rules } = findings;
  const clusters = node.clusters.length > 0 ? `cluster ${node.clusters.join(', ')}` : 'no cluster';
  const description = `${node.name} (${node.ref.id}, ${clusters}) is ${node.state}.`;
  if (node.state !== 'running') return { state: 'broken', evidence: [description], fix: startCommand(node) };
  if (!(rules instanceof Error) && rules.cause === 'dropped') {
    return { state: 'broken', evidence: [rules.reason, description, ...decisiveRules(rules)] };
  }
  const redirection = redirectionEvidence(findings);
  if (!(rules instanceof Error) && rules.mayBeDropped) {
    const evidence = [rules.reason, description, ...redirection, ...decisiveRules(rules)];
    return { state: 'unknown', evidence };
  }
  const skipped = outcome.kind === 'skipped' ? [`peermasq skips this node: ${outcome.skip.detail}`] : [];
  return { state: 'ok', evidence: [description, ...redirection, ...skipped] };
}

function startCommand({ ref, name }: Node): string {
  const args =
    ref.cloud === 'aws'
      ? ['aws', 'ec2', 'start-instances', '--instance-ids', ref.id, '--region', ref.region]
      : ['gcloud', 'compute', 'instances', 'start', name, '--zone', ref.zone, '--project', ref.project];
  return args.map(shellQuote).join(' ');
}

/** Describes where the node's NAT rules redirect the connection. Empty if they do not redirect it. */
export function redirectionEvidence({ rules, requested }: Findings): string[] {
  if (rules instanceof Error) return [];
  const wanted = printProbe(requested);
  const actual = rules.destinations.map(formatDestination);
  if (actual.every((destination) => destination === wanted)) return [];
  const by = rules.redirectedBy.length > 0 ? `: ${rules.redirectedBy.join('; ')}` : '.';
  return [`The node redirects ${wanted} to ${actual.join(' or ')}${by}`];
}

function formatDestination({ address, port }: SocketAddress): string {
  if (address === null) return 'an unknown address';
  const host = address.includes(':') ? `[${address}]` : address;
  return `${host}:${port ?? '(unknown port)'}`;
}

/**
 * Checks whether the node has proven its planned rule set. The check is not needed if the connection does not depend on
 * that rule set.
 */
export function checkProof(findings: Findings, masquerading: Check): CheckResult {
  const result = proofOf(findings, masquerading);
  const { outcome } = findings;
  const isCovered = outcome.kind !== 'planned' || isPlanned(findings);
  const isNeeded = isCovered && masquerading.state !== 'not-needed';
  if (result.state !== 'broken' || isNeeded) return result;
  return {
    state: 'not-needed',
    evidence: ['This connection does not need the planned rule set.', ...result.evidence],
  };
}

function proofOf(findings: Findings, masquerading: Check): CheckResult {
  const { node, outcome } = findings;
  const fix = backfillCommand(findings);
  switch (outcome.kind) {
    case 'skipped':
      return { state: 'not-needed', evidence: [outcome.skip.detail] };
    case 'planned': {
      if (outcome.isChange)
        return { state: 'broken', evidence: [unprovenEvidence(node, outcome.plan.id)], fix };
      if (!hasDrifted(findings, masquerading)) return { state: 'ok', evidence: [provenEvidence(node)] };
      const drift = 'The rules on the node have drifted from the proven rule set.';
      return { state: 'broken', evidence: [drift, provenEvidence(node)], fix };
    }
    case 'failed':
      return { state: 'broken', evidence: [formatError(outcome.error)], fix };
    default:
      return { state: 'unknown', evidence: [reasonOf(outcome)] };
  }
}

/**
 * Whether the rules on the node do not masquerade the connection although the proven rule set would. Then either the
 * chain or the jump to it was deleted, or another rule was inserted before the jump.
 */
const hasDrifted = (findings: Findings, masquerading: Check): boolean =>
  masquerading.state === 'broken' &&
  !(findings.rules instanceof Error) &&
  findings.rules.cause !== 'untracked' &&
  isPlanned(findings);

const shortId = (ruleSetId: string): string => ruleSetId.slice(0, 12);

const provenEvidence = ({ recorded }: Node): string =>
  `The node proved rule set ${shortId(recorded?.ruleSetId ?? '')}${recorded?.at ? ` at ${recorded.at.toISOString()}` : ''}.`;

function unprovenEvidence({ recorded, lastPush }: Node, planned: string): string {
  const expected = `Expected rule set ${shortId(planned)}`;
  if (!recorded) return `${expected}; the node has not confirmed any.`;
  const actual =
    recorded.ruleSetId === planned
      ? 'the node has not confirmed it'
      : `the node has ${shortId(recorded.ruleSetId)}`;
  if (!lastPush) return `${expected}; ${actual}.`;
  const { state, code, at } = lastPush;
  const result = code === undefined ? state : `${state} (${code})`;
  return `${expected}; ${actual}. Last push: ${result} at ${at.toISOString()}.`;
}
