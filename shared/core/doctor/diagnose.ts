import { addressOf, contains, parseAddress, type Cidr } from '../model/cidr';
import { formatError, type PeermasqError } from '../model/errors';
import type { Explanation, SocketAddress } from '../explain/simulate/packet';
import type { Node, NetworkContext } from '../model/node';
import { reasonOf, type Outcome } from '../reconcile/outcome';
import { checkNames, type Check } from './check';
import { printProbe } from '../model/rule-set';
import { shellQuote } from '../util/shell';

/** Everything that was found out about one connection. */
export interface Findings {
  readonly node: Node;
  /** What a push now would make of the node. */
  readonly outcome: Outcome;
  readonly networkContext: NetworkContext;
  /** One-address ranges; without a pod the connection begins on the node. */
  readonly pod?: Cidr;
  /** What was asked about. */
  readonly requested: { readonly address: Cidr; readonly port: number };
  /** Where it leaves the node for, as far as that is known: what `reach` is about. */
  readonly destination: Cidr;
  /** Ranges of the cluster itself, as config and cloud tell them. */
  readonly clusterRanges: readonly { readonly cidr: Cidr; readonly of: 'pods' | 'services' }[];
  /** What the rules on the node do to it, or why they cannot be seen. */
  readonly rules: Explanation | PeermasqError;
  /** What the cloud says of the way. */
  readonly reach: readonly Check[];
}

export interface Diagnosis {
  /** One for each link, in order. */
  readonly checks: readonly Check[];
  /** The first that is broken. */
  readonly broken: Check | null;
  /** One sentence. */
  readonly verdict: string;
}

/** Peers have routes to the pod: it may come with its own address. */
export function isPodRouted(pod: Cidr, networkContext: NetworkContext): boolean {
  const holds = (range: Cidr) => contains(range, pod);
  return (
    (networkContext.arePodsRouted && networkContext.podRanges.some(holds)) ||
    networkContext.networkRanges.some(holds)
  );
}

/** What people check by hand, in the order in which they do, and the first link that is broken. */
export function diagnose(findings: Findings): Diagnosis {
  const masquerading = masqueradingCheck(findings);
  const text = clusterRangeReason(findings);
  const cloudChecks = [
    ...findings.reach.map((check) => limitToOneDestination(findings, check)),
    masquerading,
  ].map((check) => (text === undefined ? check : notNeededInCluster(check, text)));
  const hasDrifted =
    cloudChecks.includes(masquerading) && masquerading.state === 'broken' && isOwnRuleMissing(findings);
  const found = [nodeCheck(findings), ...cloudChecks, proofCheckIfNeeded(findings, cloudChecks, hasDrifted)];
  const checks = checkNames.flatMap((name) => found.filter((check) => check.name === name));
  const broken = checks.find(({ state }) => state === 'broken') ?? null;
  return { checks, broken, verdict: verdictOf(checks, broken) };
}

/** What of the cluster itself the destination is; undefined where it is none, or the cloud leads there all the same. */
function clusterRangeReason({ destination, clusterRanges, reach }: Findings): string | undefined {
  const nodeSources = clusterRanges.find(({ cidr }) => contains(cidr, destination));
  const isRoutedByCloud = reach.some(({ name, state }) => name === 'peering' && state !== 'broken');
  return nodeSources && !isRoutedByCloud
    ? `${addressOf(destination)} is in ${nodeSources.cidr.text}, the cluster's own ${nodeSources.of}`
    : undefined;
}

/** Nothing of the cloud's is to be mended. */
const notNeededInCluster = ({ name }: Check, text: string): Check => ({
  name,
  state: 'not-needed',
  evidence: [
    `${text}: the cluster's own network leads there. Ask kube-proxy, the CNI plugin and network policies.`,
  ],
});

function verdictOf(checks: readonly Check[], broken: Check | null): string {
  if (broken) return `The first broken link is ${broken.name}: ${broken.evidence[0] ?? ''}`;
  const unknown = checks.filter(({ state }) => state === 'unknown').map(({ name }) => name);
  const masquerading = checks.find(({ name }) => name === 'masquerading');
  const notNeeded =
    masquerading?.state === 'not-needed'
      ? ` Masquerading is not needed: ${masquerading.evidence[0] ?? ''}`
      : '';
  if (unknown.length > 0)
    return `Nothing is broken as far as can be seen; not seen: ${unknown.join(', ')}.${notNeeded}`;
  return `Nothing is broken.${notNeeded} If it still fails, ask the service itself.`;
}

/** Where its rules send the connection, unless that is where it was to go. */
function redirectionEvidence({ rules, requested }: Findings): string[] {
  if (rules instanceof Error) return [];
  const wanted = printProbe(requested);
  const actual = rules.destinations.map(formatDestination);
  if (actual.every((address) => address === wanted)) return [];
  const by = rules.redirectedBy.length > 0 ? `: ${rules.redirectedBy.join('; ')}` : '.';
  return [`Asked for ${wanted}, the node sends it to ${actual.join(' or ')}${by}`];
}

function formatDestination({ address, port }: SocketAddress): string {
  if (address === null) return 'an address that is not known';
  const host = address.includes(':') ? `[${address}]` : address;
  return `${host}:${port ?? '(port not known)'}`;
}

/** The cloud was asked about one place, and says nothing of others. */
function limitToOneDestination(findings: Findings, check: Check): Check {
  const { rules } = findings;
  const isDestinationUncertain =
    !(rules instanceof Error) &&
    (rules.destinations.length > 1 ||
      rules.destinations.some(({ address, port }) => address === null || port === null));
  if (!isDestinationUncertain) return check;
  return {
    name: check.name,
    state: 'unknown',
    evidence: [...redirectionEvidence(findings), ...check.evidence],
  };
}

function nodeCheck(findings: Findings): Check {
  const { node, outcome, rules } = findings;
  const description = `${node.name} (${node.ref.id}) is ${node.state}, of cluster ${node.clusters.join(', ') || 'none'}.`;
  const name = 'node';
  if (node.state !== 'running') {
    return { name, state: 'broken', evidence: [description], fix: startCommand(node) };
  }
  if (!(rules instanceof Error) && rules.cause === 'dropped') {
    return { name, state: 'broken', evidence: [rules.reason, description, ...decisiveRules(rules)] };
  }
  if (!(rules instanceof Error) && rules.mayBeDropped) {
    const evidence = [rules.reason, description, ...redirectionEvidence(findings), ...decisiveRules(rules)];
    return { name, state: 'unknown', evidence };
  }
  const skipped = outcome.kind === 'skipped' ? [`peermasq leaves it alone: ${outcome.skip.detail}`] : [];
  return { name, state: 'ok', evidence: [description, ...redirectionEvidence(findings), ...skipped] };
}

function startCommand({ ref, name }: Node): string {
  const text =
    ref.cloud === 'aws'
      ? ['aws', 'ec2', 'start-instances', '--instance-ids', ref.id, '--region', ref.region]
      : ['gcloud', 'compute', 'instances', 'start', name, '--zone', ref.zone, '--project', ref.project];
  return text.map(shellQuote).join(' ');
}

function masqueradingCheck(findings: Findings): Check {
  const { pod, networkContext, rules } = findings;
  const name = 'masquerading';
  if (!pod) return { name, state: 'not-needed', evidence: ['It begins on the node, and has its address.'] };
  if (isPodRouted(pod, networkContext)) {
    const evidence = `${addressOf(pod)} is an address that ${networkContext.network} and its peers have routes to.`;
    return { name, state: 'not-needed', evidence: [evidence, ...reasonsOf(rules)] };
  }
  if (rules instanceof Error) return { name, state: 'unknown', evidence: [rules.message], fix: rules.advice };
  if (rules.sources.length === 0 && (rules.cause === 'dropped' || rules.cause === 'stays-on-node')) {
    return { name, state: 'unknown', evidence: [`It does not come that far. ${rules.reason}`] };
  }
  const evidence = [rules.reason, ...decisiveRules(rules)];
  if (rules.masqueraded === 'unknown') return { name, state: 'unknown', evidence };
  if (!rules.masqueraded || rules.cause === 'wrong-backend')
    return { name, state: 'broken', evidence, ...fixFor(findings, rules) };
  return { name, evidence, ...checkSources(findings, rules) };
}

const reasonsOf = (rules: Findings['rules']): string[] => (rules instanceof Error ? [] : [rules.reason]);

/** Some NAT rules give an address that is as foreign to the peer as the pod's. */
function checkSources(findings: Findings, rules: Explanation): Pick<Check, 'state' | 'fix'> {
  const { networkRanges } = findings.networkContext;
  const isNodeSource = (text: string) => networkRanges.some((range) => contains(range, parseAddress(text)));
  const nodeSources = rules.sources.filter(isNodeSource);
  if (rules.sources.length > 0 && nodeSources.length === 0)
    return { state: 'broken', ...fixFor(findings, rules) };
  return { state: nodeSources.length > 0 && nodeSources.length === rules.sources.length ? 'ok' : 'unknown' };
}

/** The rules that matched, as the node has them. */
const decisiveRules = ({ path }: Explanation): string[] =>
  path
    .filter(({ result, chain }) => result !== 'not-matched' && chain !== '')
    .slice(-3)
    .map(({ table, chain, rule, text }) => `${table} ${chain} ${rule}: ${text}`);

/** A push; again, where the node has proven the rules that it no longer has. */
const backfillCommand = ({ outcome, node }: Findings): string =>
  `npx peermasq backfill ${outcome.kind === 'planned' && !outcome.isChange ? '--force ' : ''}--node ${node.ref.id}`;

/** Lasting where a push would bring it, else the rule itself. */
function fixFor(findings: Findings, rules: Explanation): { fix?: string } {
  const { outcome, destination, pod } = findings;
  if (rules.cause === 'untracked') return rules.fix === null ? {} : { fix: rules.fix };
  const sources = outcome.kind === 'planned' ? outcome.plan.ruleSet.sources : [];
  if (pod && sources.length > 0 && !sources.some((range) => contains(range, pod))) {
    const text = `Add the range of ${addressOf(pod)} to the cluster's pods in peermasq.yaml`;
    return { fix: `${text}, then: ${backfillCommand(findings)}` };
  }
  if (isPlanned(outcome, destination)) return { fix: backfillCommand(findings) };
  if (rules.cause === 'exempt') {
    const text = `Take ${addressOf(destination)} out of what peermasq.yaml exempts (except, services)`;
    return { fix: `${text}, then: ${backfillCommand(findings)}` };
  }
  return rules.fix === null ? {} : { fix: rules.fix };
}

const isPlanned = (outcome: Outcome, destination: Cidr): boolean =>
  outcome.kind === 'planned' &&
  outcome.plan.ruleSet.destinations.some(({ cidr }) => contains(cidr, destination)) &&
  !outcome.plan.ruleSet.exemptions.some(({ cidr }) => contains(cidr, destination));

/** What the node has proven would masquerade it: its chain or its jump is gone, or something stands before them. */
const isOwnRuleMissing = ({ rules, outcome, destination }: Findings): boolean =>
  !(rules instanceof Error) && rules.cause !== 'untracked' && isPlanned(outcome, destination);

/** Only of rules that the connection needs. */
function proofCheckIfNeeded(findings: Findings, cloudChecks: readonly Check[], hasDrifted: boolean): Check {
  const check = proofCheck(findings, hasDrifted);
  const { outcome, destination } = findings;
  const isNeeded = cloudChecks.every(({ name, state }) => name !== 'masquerading' || state !== 'not-needed');
  const isCovered =
    outcome.kind !== 'planned' ||
    outcome.plan.ruleSet.destinations.some(({ cidr }) => contains(cidr, destination));
  if (check.state !== 'broken' || (isNeeded && isCovered)) return check;
  const evidence = ['The connection does not need it.', ...check.evidence];
  return { name: check.name, state: 'not-needed', evidence };
}

function proofCheck(findings: Findings, hasDrifted: boolean): Check {
  const { node, outcome } = findings;
  const name = 'proof';
  const fix = backfillCommand(findings);
  switch (outcome.kind) {
    case 'skipped':
      return { name, state: 'not-needed', evidence: [outcome.skip.detail] };
    case 'planned':
      if (outcome.isChange)
        return { name, state: 'broken', evidence: [unprovenEvidence(node, outcome.plan.id)], fix };
      return hasDrifted
        ? {
            name,
            state: 'broken',
            evidence: ['It has drifted from what it proved.', provenEvidence(node)],
            fix,
          }
        : { name, state: 'ok', evidence: [provenEvidence(node)] };
    case 'failed':
      return { name, state: 'broken', evidence: [formatError(outcome.error)], fix };
    default:
      return {
        name,
        state: 'unknown',
        evidence: [reasonOf(outcome)],
      };
  }
}

const provenEvidence = ({ recorded }: Node): string =>
  `It has proven rule set ${recorded?.ruleSetId.slice(0, 12) ?? ''}${recorded?.at ? `, at ${recorded.at.toISOString()}` : ''}.`;

function unprovenEvidence({ recorded, lastPush }: Node, planned: string): string {
  const wanted = `It is to have rule set ${planned.slice(0, 12)}`;
  if (!recorded) return `${wanted}, and has proven none.`;
  const lastResult = lastPush
    ? `; its last push ended as ${lastPush.state}, at ${lastPush.at.toISOString()}`
    : '';
  return recorded.ruleSetId === planned
    ? `${wanted}, and has not proven it${lastResult}.`
    : `${wanted}, and has ${recorded.ruleSetId.slice(0, 12)}${lastResult}.`;
}
