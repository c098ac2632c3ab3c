import { addressOf, contains, parseAddress, type Cidr } from './cidr';
import { inWords, type PeermasqError } from './errors';
import type { Explanation, Place } from './explain/packet';
import type { Node, Surroundings } from './node';
import { reasonOf, type Outcome } from './outcome';
import { links, type Check } from './reach';
import { printProbe } from './rule-set';
import { shellWord } from './shell';

/** Everything that was found out about one connection. */
export interface Findings {
  readonly node: Node;
  /** What a push now would make of the node. */
  readonly outcome: Outcome;
  readonly around: Surroundings;
  /** One-address ranges; without a pod the connection begins on the node. */
  readonly pod?: Cidr;
  /** What was asked about. */
  readonly asked: { readonly address: Cidr; readonly port: number };
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
export function isPodRouted(pod: Cidr, around: Surroundings): boolean {
  const holds = (range: Cidr) => contains(range, pod);
  return (around.arePodsRouted && around.podRanges.some(holds)) || around.networkRanges.some(holds);
}

/** What people check by hand, in the order in which they do, and the first link that is broken. */
export function diagnose(findings: Findings): Diagnosis {
  const masquerading = masqueradingCheck(findings);
  const words = ofCluster(findings);
  const way = [...findings.reach.map((check) => ofPlace(findings, check)), masquerading].map((check) =>
    words === undefined ? check : within(check, words),
  );
  const hasDrifted = way.includes(masquerading) && masquerading.state === 'broken' && isOwnBroken(findings);
  const found = [nodeCheck(findings), ...way, proofOf(findings, way, hasDrifted)];
  const checks = links.flatMap((link) => found.filter((check) => check.link === link));
  const broken = checks.find(({ state }) => state === 'broken') ?? null;
  return { checks, broken, verdict: verdictOf(checks, broken) };
}

/** What of the cluster itself the destination is; undefined where it is none, or the cloud leads there all the same. */
function ofCluster({ destination, clusterRanges, reach }: Findings): string | undefined {
  const own = clusterRanges.find(({ cidr }) => contains(cidr, destination));
  const isLed = reach.some(({ link, state }) => link === 'peering' && state !== 'broken');
  return own && !isLed
    ? `${addressOf(destination)} is in ${own.cidr.text}, the cluster's own ${own.of}`
    : undefined;
}

/** Nothing of the cloud's is to be mended. */
const within = ({ link }: Check, words: string): Check => ({
  link,
  state: 'not-needed',
  evidence: [
    `${words}: the cluster's own network leads there. Ask kube-proxy, the CNI plugin and network policies.`,
  ],
});

function verdictOf(checks: readonly Check[], broken: Check | null): string {
  if (broken) return `The first broken link is ${broken.link}: ${broken.evidence[0] ?? ''}`;
  const unseen = checks.filter(({ state }) => state === 'unknown').map(({ link }) => link);
  const masquerading = checks.find(({ link }) => link === 'masquerading');
  const unneeded =
    masquerading?.state === 'not-needed'
      ? ` Masquerading is not needed: ${masquerading.evidence[0] ?? ''}`
      : '';
  if (unseen.length > 0)
    return `Nothing is broken as far as can be seen; not seen: ${unseen.join(', ')}.${unneeded}`;
  return `Nothing is broken.${unneeded} If it still fails, ask the service itself.`;
}

/** Where its rules send the connection, unless that is where it was to go. */
function redirection({ rules, asked }: Findings): string[] {
  if (rules instanceof Error) return [];
  const wanted = printProbe(asked);
  const places = rules.destinations.map(placeText);
  if (places.every((place) => place === wanted)) return [];
  const by = rules.redirectedBy.length > 0 ? `: ${rules.redirectedBy.join('; ')}` : '.';
  return [`Asked for ${wanted}, the node sends it to ${places.join(' or ')}${by}`];
}

function placeText({ address, port }: Place): string {
  if (address === null) return 'an address that is not known';
  const host = address.includes(':') ? `[${address}]` : address;
  return `${host}:${port ?? '(port not known)'}`;
}

/** The cloud was asked about one place, and says nothing of others. */
function ofPlace(findings: Findings, check: Check): Check {
  const { rules } = findings;
  const isOpen =
    !(rules instanceof Error) &&
    (rules.destinations.length > 1 ||
      rules.destinations.some(({ address, port }) => address === null || port === null));
  if (!isOpen) return check;
  return { link: check.link, state: 'unknown', evidence: [...redirection(findings), ...check.evidence] };
}

function nodeCheck(findings: Findings): Check {
  const { node, outcome, rules } = findings;
  const who = `${node.name} (${node.ref.id}) is ${node.state}, of cluster ${node.clusters.join(', ') || 'none'}.`;
  const link = 'node';
  if (node.state !== 'running') {
    return { link, state: 'broken', evidence: [who], cure: startCommand(node) };
  }
  if (!(rules instanceof Error) && rules.cause === 'dropped') {
    return { link, state: 'broken', evidence: [rules.reason, who, ...deciding(rules)] };
  }
  if (!(rules instanceof Error) && rules.mayBeDropped) {
    const evidence = [rules.reason, who, ...redirection(findings), ...deciding(rules)];
    return { link, state: 'unknown', evidence };
  }
  const left = outcome.kind === 'skipped' ? [`peermasq leaves it alone: ${outcome.skip.detail}`] : [];
  return { link, state: 'ok', evidence: [who, ...redirection(findings), ...left] };
}

function startCommand({ ref, name }: Node): string {
  const words =
    ref.cloud === 'aws'
      ? ['aws', 'ec2', 'start-instances', '--instance-ids', ref.id, '--region', ref.region]
      : ['gcloud', 'compute', 'instances', 'start', name, '--zone', ref.zone, '--project', ref.project];
  return words.map(shellWord).join(' ');
}

function masqueradingCheck(findings: Findings): Check {
  const { pod, around, rules } = findings;
  const link = 'masquerading';
  if (!pod) return { link, state: 'not-needed', evidence: ['It begins on the node, and has its address.'] };
  if (isPodRouted(pod, around)) {
    const evidence = `${addressOf(pod)} is an address that ${around.network} and its peers have routes to.`;
    return { link, state: 'not-needed', evidence: [evidence, ...wordsOf(rules)] };
  }
  if (rules instanceof Error)
    return { link, state: 'unknown', evidence: [rules.message], cure: rules.advice };
  if (rules.sources.length === 0 && (rules.cause === 'dropped' || rules.cause === 'stays-on-node')) {
    return { link, state: 'unknown', evidence: [`It does not come that far. ${rules.reason}`] };
  }
  const evidence = [rules.reason, ...deciding(rules)];
  if (rules.masqueraded === 'unknown') return { link, state: 'unknown', evidence };
  if (!rules.masqueraded || rules.cause === 'wrong-backend')
    return { link, state: 'broken', evidence, ...cureOf(findings, rules) };
  return { link, evidence, ...ofSources(findings, rules) };
}

const wordsOf = (rules: Findings['rules']): string[] => (rules instanceof Error ? [] : [rules.reason]);

/** Some NAT rules give an address that is as foreign to the peer as the pod's. */
function ofSources(findings: Findings, rules: Explanation): Pick<Check, 'state' | 'cure'> {
  const { networkRanges } = findings.around;
  const isOwn = (text: string) => networkRanges.some((range) => contains(range, parseAddress(text)));
  const own = rules.sources.filter(isOwn);
  if (rules.sources.length > 0 && own.length === 0) return { state: 'broken', ...cureOf(findings, rules) };
  return { state: own.length > 0 && own.length === rules.sources.length ? 'ok' : 'unknown' };
}

/** The rules that matched, as the node has them. */
const deciding = ({ path }: Explanation): string[] =>
  path
    .filter(({ result, chain }) => result !== 'not-matched' && chain !== '')
    .slice(-3)
    .map(({ table, chain, rule, text }) => `${table} ${chain} ${rule}: ${text}`);

/** A push; again, where the node has proven the rules that it no longer has. */
const backfill = ({ outcome, node }: Findings): string =>
  `npx peermasq backfill ${outcome.kind === 'planned' && !outcome.isChange ? '--again ' : ''}--node ${node.ref.id}`;

/** Lasting where a push would bring it, else the rule itself. */
function cureOf(findings: Findings, rules: Explanation): { cure?: string } {
  const { outcome, destination, pod } = findings;
  if (rules.cause === 'untracked') return rules.cure === null ? {} : { cure: rules.cure };
  const sources = outcome.kind === 'planned' ? outcome.plan.ruleSet.sources : [];
  if (pod && sources.length > 0 && !sources.some((range) => contains(range, pod))) {
    const words = `Add the range of ${addressOf(pod)} to the cluster's pods in peermasq.yaml`;
    return { cure: `${words}, then: ${backfill(findings)}` };
  }
  if (isPlanned(outcome, destination)) return { cure: backfill(findings) };
  if (rules.cause === 'exempt') {
    const words = `Take ${addressOf(destination)} out of what peermasq.yaml exempts (except, services)`;
    return { cure: `${words}, then: ${backfill(findings)}` };
  }
  return rules.cure === null ? {} : { cure: rules.cure };
}

const isPlanned = (outcome: Outcome, destination: Cidr): boolean =>
  outcome.kind === 'planned' &&
  outcome.plan.ruleSet.destinations.some(({ cidr }) => contains(cidr, destination)) &&
  !outcome.plan.ruleSet.exemptions.some(({ cidr }) => contains(cidr, destination));

/** What the node has proven would masquerade it: its chain or its jump is gone, or something stands before them. */
const isOwnBroken = ({ rules, outcome, destination }: Findings): boolean =>
  !(rules instanceof Error) && rules.cause !== 'untracked' && isPlanned(outcome, destination);

/** Only of rules that the connection needs. */
function proofOf(findings: Findings, way: readonly Check[], hasDrifted: boolean): Check {
  const check = proofCheck(findings, hasDrifted);
  const { outcome, destination } = findings;
  const isNeeded = way.every(({ link, state }) => link !== 'masquerading' || state !== 'not-needed');
  const isMeant =
    outcome.kind !== 'planned' ||
    outcome.plan.ruleSet.destinations.some(({ cidr }) => contains(cidr, destination));
  if (check.state !== 'broken' || (isNeeded && isMeant)) return check;
  const evidence = ['The connection does not need it.', ...check.evidence];
  return { link: check.link, state: 'not-needed', evidence };
}

function proofCheck(findings: Findings, hasDrifted: boolean): Check {
  const { node, outcome } = findings;
  const link = 'proof';
  const cure = backfill(findings);
  switch (outcome.kind) {
    case 'skipped':
      return { link, state: 'not-needed', evidence: [outcome.skip.detail] };
    case 'planned':
      if (outcome.isChange)
        return { link, state: 'broken', evidence: [unprovenWords(node, outcome.plan.id)], cure };
      return hasDrifted
        ? {
            link,
            state: 'broken',
            evidence: ['It has drifted from what it proved.', provenWords(node)],
            cure,
          }
        : { link, state: 'ok', evidence: [provenWords(node)] };
    case 'failed':
      return { link, state: 'broken', evidence: [inWords(outcome.error)], cure };
    default:
      return {
        link,
        state: 'unknown',
        evidence: [reasonOf(outcome)],
      };
  }
}

const provenWords = ({ recorded }: Node): string =>
  `It has proven rule set ${recorded?.ruleSetId.slice(0, 12) ?? ''}${recorded?.at ? `, at ${recorded.at.toISOString()}` : ''}.`;

function unprovenWords({ recorded, lastEnd }: Node, planned: string): string {
  const wanted = `It is to have rule set ${planned.slice(0, 12)}`;
  if (!recorded) return `${wanted}, and has proven none.`;
  const ended = lastEnd ? `; its last push ended as ${lastEnd.state}, at ${lastEnd.at.toISOString()}` : '';
  return recorded.ruleSetId === planned
    ? `${wanted}, and has not proven it${ended}.`
    : `${wanted}, and has ${recorded.ruleSetId.slice(0, 12)}${ended}.`;
}
