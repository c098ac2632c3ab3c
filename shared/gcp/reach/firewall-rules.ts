import type { protos } from '@google-cloud/compute';
import { isInternal } from '../../core/model/reserved-ranges';
import { CidrError, contains, parseAddress, parseCidr, type Cidr } from '../../core/model/cidr';
import type { Instance } from '../discover/instance';

type Firewall = protos.google.cloud.compute.v1.IFirewall;
type PolicyRule = protos.google.cloud.compute.v1.IFirewallPolicyRule;
type Matcher = protos.google.cloud.compute.v1.IFirewallPolicyRuleMatcher;

/** As much as the answers for an instance and for a network have in common. */
export interface EffectiveFirewalls {
  readonly firewalls?: readonly Firewall[] | null;
  readonly firewallPolicys?: readonly EffectivePolicy[] | null;
}

export interface EffectivePolicy {
  readonly type?: string | null;
  readonly name?: string | null;
  readonly shortName?: string | null;
  readonly priority?: number | null;
  readonly rules?: readonly PolicyRule[] | null;
}

/** The first packet of a connection over TCP: an answer to what was let through needs no rule. */
export interface Flow {
  readonly direction: 'EGRESS' | 'INGRESS';
  readonly source: Cidr;
  readonly destination: Cidr;
  readonly port: number;
  /** The instance whose rules these are; without it they are those of any instance of the network. */
  readonly target?: Instance;
  /** The instance that it comes from, where that is in the same network: only there source tags count. */
  readonly origin?: Instance;
}

/** Whether a rule is for a connection: `no`, or yes if all of these hold. */
type RuleMatch =
  'no' | { readonly targetConditions: readonly string[]; readonly conditions: readonly string[] };

export interface EffectiveRule {
  /** Of a VPC firewall rule there is none. */
  readonly policy?: EffectivePolicy;
  readonly name: string;
  readonly priority: number;
  readonly action: 'allow' | 'deny' | 'goto_next' | 'inspect';
  readonly match: RuleMatch;
}

/** How a connection may end, and what that depends on; without a rule by what is implied. */
export interface RuleOutcome {
  readonly action: 'allow' | 'deny' | 'inspect';
  readonly rule?: EffectiveRule;
  /** What the target must be: `instances with the tag x`. */
  readonly targetConditions: readonly string[];
  /** What cannot be told from here. */
  readonly conditions: readonly string[];
}

/**
 * Every outcome that is possible, in the order in which rules are asked; one, where nothing is open
 * (https://cloud.google.com/firewall/docs/firewall-policies-rule-eval-order).
 * @param order `networkFirewallPolicyEnforcementOrder` of the network
 */
export function evaluateRules(
  flow: Flow,
  { firewalls, firewallPolicys }: EffectiveFirewalls,
  order: string | null | undefined,
): RuleOutcome[] {
  const policies = (firewallPolicys ?? []).toSorted((a, b) => rankOf(a) - rankOf(b) || byAssociation(a, b));
  const tiers = policies.map((policy) => ({
    rank: rankOf(policy),
    rules: (policy.rules ?? []).filter(isEnabled).map((rule) => fromPolicyRule(flow, policy, rule)),
  }));
  const vpcRules = (firewalls ?? []).filter(isEnabled).map((rule) => fromVpcRule(flow, rule));
  const vpcRank = order === 'BEFORE_CLASSIC_FIREWALL' ? ranks.length : 2;
  const all = [...tiers, { rank: vpcRank - 0.5, rules: vpcRules }].toSorted((a, b) => a.rank - b.rank);
  return evaluateTiers(
    all.map(({ rules }) => rules.toSorted(byPriority)),
    flow.direction,
  );
}

/** The types of policies, in the order in which they are asked; VPC firewall rules come between or after them. */
const ranks = [/^HIERARCHY$/, /^SYSTEM/, /^NETWORK$/, /^NETWORK_REGIONAL$/];
const rankOf = ({ type }: EffectivePolicy): number => {
  const rank = ranks.findIndex((one) => one.test(type ?? ''));
  return rank === -1 ? 0 : rank;
};
/** Those of organisation and folders come in their order. */
const byAssociation = (a: EffectivePolicy, b: EffectivePolicy): number =>
  a.type === 'HIERARCHY' ? 0 : (a.priority ?? 0) - (b.priority ?? 0);

const isEnabled = ({ disabled }: { readonly disabled?: boolean | null }): boolean => !disabled;

/** Of equals a denial counts (Firewall.priority). */
const byPriority = (a: EffectiveRule, b: EffectiveRule): number =>
  a.priority - b.priority || Number(b.action === 'deny') - Number(a.action === 'deny');

function evaluateTiers(
  tiers: readonly (readonly EffectiveRule[])[],
  direction: Flow['direction'],
): RuleOutcome[] {
  const [tier, ...rest] = tiers;
  if (!tier)
    return [{ action: direction === 'EGRESS' ? 'allow' : 'deny', targetConditions: [], conditions: [] }];
  const considered: { rule: EffectiveRule; match: Conditions }[] = [];
  for (const rule of tier) {
    if (rule.match === 'no') continue;
    considered.push({ rule, match: rule.match });
    if (isCertain(rule.match)) break;
  }
  const found = considered.flatMap(({ rule, match }): RuleOutcome[] =>
    rule.action === 'goto_next' ? [] : [{ ...match, action: rule.action, rule }],
  );
  const delegated = considered.filter(({ rule }) => rule.action === 'goto_next').map(({ match }) => match);
  const isDecided = considered.some(({ rule, match }) => rule.action !== 'goto_next' && isCertain(match));
  if (isDecided && delegated.length === 0) return found;
  // However many rules pass it on, the tiers behind are followed once.
  const delegatedMatches = isDecided ? delegated : [];
  return [
    ...found,
    ...evaluateTiers(rest, direction).map((outcome) => ({
      ...outcome,
      ...mergeConditions(delegatedMatches, outcome),
    })),
  ];
}

type Conditions = Exclude<RuleMatch, 'no'>;
const isCertain = ({ conditions, targetConditions }: Conditions): boolean =>
  conditions.length + targetConditions.length === 0;

/** What any of the rules that pass a connection on asks for, and then what the outcome itself does. */
function mergeConditions(
  delegatedMatches: readonly Conditions[],
  { conditions, targetConditions }: Conditions,
): Conditions {
  return {
    conditions: [...new Set([...delegatedMatches.flatMap((one) => one.conditions), ...conditions])],
    targetConditions: [
      ...new Set([...delegatedMatches.flatMap((one) => one.targetConditions), ...targetConditions]),
    ],
  };
}

const always: RuleMatch = { targetConditions: [], conditions: [] };
const onlyIf = (what: string): RuleMatch => ({ targetConditions: [], conditions: [what] });

const both = (a: RuleMatch, b: RuleMatch): RuleMatch =>
  a === 'no' || b === 'no'
    ? 'no'
    : {
        targetConditions: [...a.targetConditions, ...b.targetConditions],
        conditions: [...a.conditions, ...b.conditions],
      };
const allOf = (matches: readonly RuleMatch[]): RuleMatch => matches.reduce(both, always);
/** The surest of them. */
const anyOf = (matches: readonly RuleMatch[]): RuleMatch =>
  matches.find((match) => match !== 'no' && match.conditions.length === 0) ??
  matches.find((match) => match !== 'no') ??
  'no';

function fromVpcRule(flow: Flow, rule: Firewall): EffectiveRule {
  const { allowed, denied, direction, name, priority } = rule;
  const isAllow = Boolean(allowed?.length);
  const protocols = (isAllow ? allowed : denied) ?? [];
  return {
    name: name ?? '',
    priority: priority ?? 1_000,
    action: isAllow ? 'allow' : 'deny',
    match: allOf([
      matchesDirection(flow, direction ?? 'INGRESS'),
      matchesProtocol(
        flow,
        protocols.map(({ IPProtocol, ports }) => ({ ipProtocol: IPProtocol, ports })),
      ),
      matchesTarget(flow, rule),
      matchesSource(flow, rule),
      matchesRanges(rule.destinationRanges, flow.destination),
    ]),
  };
}

const matchesDirection = (flow: Flow, direction: string | null | undefined): RuleMatch =>
  direction === flow.direction ? always : 'no';

interface Protocol {
  readonly ipProtocol?: string | null | undefined;
  readonly ports?: readonly string[] | null | undefined;
}

/** @param range `80` or `32000-32767` */
export function hasPort(range: string, port: number): boolean {
  const [first = Number.NaN, last = first] = range.split('-').map(Number);
  return first <= port && port <= last;
}

/** IANA's number of TCP is 6. */
function matchesProtocol({ port }: Flow, protocols: readonly Protocol[]): RuleMatch {
  const isMatch = protocols.some(
    ({ ipProtocol, ports }) =>
      ['all', 'tcp', '6'].includes(ipProtocol?.toLowerCase() ?? '') &&
      (!ports?.length || ports.some((range) => hasPort(range, port))),
  );
  return isMatch ? always : 'no';
}

interface Targets {
  readonly targetTags?: readonly string[] | null;
  readonly targetServiceAccounts?: readonly string[] | null;
}

function matchesTarget({ target }: Flow, { targetTags, targetServiceAccounts }: Targets): RuleMatch {
  const wanted = [...(targetTags ?? []), ...(targetServiceAccounts ?? [])];
  if (wanted.length === 0) return always;
  if (target) return wanted.some((name) => tagsAndAccounts(target).includes(name)) ? always : 'no';
  const kind = targetTags?.length ? 'tag' : 'service account';
  return { targetConditions: [`instances with the ${kind} ${wanted.join(' or ')}`], conditions: [] };
}

/** Its network tags and service accounts. */
const tagsAndAccounts = ({ tags, serviceAccounts }: Instance): string[] => [
  ...(tags?.items ?? []),
  ...(serviceAccounts ?? []).flatMap(({ email }) => email ?? []),
];

/** Ranges or tags or accounts; the last two for the primary addresses of instances of the same network. */
function matchesSource({ origin, source }: Flow, rule: Firewall): RuleMatch {
  const { sourceRanges, sourceTags, sourceServiceAccounts } = rule;
  const names = [...(sourceTags ?? []), ...(sourceServiceAccounts ?? [])];
  const hasName = origin !== undefined && names.some((name) => tagsAndAccounts(origin).includes(name));
  const primary = origin?.networkInterfaces?.[0]?.networkIP;
  const byName = isSame(primary, source) ? always : onlyIf('whether tags count for an alias address');
  if (names.length === 0) return matchesRanges(sourceRanges, source);
  return anyOf([sourceRanges?.length ? matchesRanges(sourceRanges, source) : 'no', hasName ? byName : 'no']);
}

const isSame = (address: string | null | undefined, range: Cidr): boolean =>
  Boolean(address) && parseAddress(address ?? '').text === range.text;

/** No ranges stand for all. */
const matchesRanges = (ranges: readonly string[] | null | undefined, address: Cidr): RuleMatch =>
  ranges?.length ? anyOf(ranges.map((range) => matchesRange(range, address))) : always;

function matchesRange(range: string, address: Cidr): RuleMatch {
  try {
    return contains(range.includes('/') ? parseCidr(range) : parseAddress(range), address) ? always : 'no';
  } catch (thrown) {
    if (thrown instanceof CidrError) return onlyIf(`what ${JSON.stringify(range)} holds`);
    throw thrown;
  }
}

const actions: Readonly<Record<string, EffectiveRule['action']>> = {
  allow: 'allow',
  deny: 'deny',
  goto_next: 'goto_next',
};

function fromPolicyRule(flow: Flow, policy: EffectivePolicy, rule: PolicyRule): EffectiveRule {
  const { action, direction, match, priority, ruleName, targetType } = rule;
  const { source, destination } = flow;
  return {
    policy,
    name: ruleName ?? '',
    priority: priority ?? 0,
    action: actions[action ?? ''] ?? 'inspect',
    match: allOf([
      matchesDirection(flow, direction),
      targetType === 'INTERNAL_MANAGED_LB' ? 'no' : always,
      match?.layer4Configs?.length ? matchesProtocol(flow, match.layer4Configs) : always,
      matchesTarget(flow, { targetServiceAccounts: rule.targetServiceAccounts ?? [] }),
      matchesSecureTags(flow, rule),
      matchesEndpoint(
        match?.srcIpRanges,
        source,
        uncheckableCriteria(match, 'src'),
        match?.srcNetworkType ?? match?.srcNetworkContext,
      ),
      matchesEndpoint(
        match?.destIpRanges,
        destination,
        uncheckableCriteria(match, 'dest'),
        match?.destNetworkType ?? match?.destNetworkContext,
      ),
    ]),
  };
}

/** For an instance only the rules that are for it are told; of a network all are. */
function matchesSecureTags({ target }: Flow, { targetSecureTags }: PolicyRule): RuleMatch {
  if (target || !targetSecureTags?.length) return always;
  const names = targetSecureTags.map(({ name }) => name ?? '').join(' or ');
  return { targetConditions: [`instances with the secure tag ${names}`], conditions: [] };
}

/** What a matcher asks for that addresses do not tell. */
function uncheckableCriteria(match: Matcher | null | undefined, side: 'src' | 'dest'): string[] {
  const kinds = {
    'an address group': match?.[`${side}AddressGroups`],
    'a domain name': match?.[`${side}Fqdns`],
    'a country': match?.[`${side}RegionCodes`],
    'a list of threats': match?.[`${side}ThreatIntelligences`],
    'a secure tag': side === 'src' ? match?.srcSecureTags : undefined,
    'a list of networks': side === 'src' ? match?.srcNetworks : undefined,
  };
  return Object.entries(kinds).flatMap(([kind, named]) => (named?.length ? [kind] : []));
}

function matchesEndpoint(
  ranges: readonly string[] | null | undefined,
  address: Cidr,
  uncheckable: readonly string[],
  type: string | null | undefined,
): RuleMatch {
  const byRange: readonly RuleMatch[] =
    ranges?.length || uncheckable.length === 0 ? [matchesRanges(ranges, address)] : [];
  const byOther = uncheckable.map((kind) => onlyIf(`whether ${kind} holds ${address.text}`));
  return both(anyOf([...byRange, ...byOther]), matchesNetworkType(type, address));
}

function matchesNetworkType(type: string | null | undefined, address: Cidr): RuleMatch {
  if (!type || type === 'UNSPECIFIED') return always;
  if (type === 'INTERNET') return isInternal(address) ? 'no' : onlyIf('what counts as internet');
  return type === 'NON_INTERNET' && isInternal(address) ? always : onlyIf(`what counts as ${type}`);
}
