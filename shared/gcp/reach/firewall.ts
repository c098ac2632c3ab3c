import type { protos } from '@google-cloud/compute';
import { isInternal } from '../../core/reserved';
import { CidrError, contains, parseAddress, parseCidr, type Cidr } from '../../core/cidr';
import type { Instance } from '../instance';

type Firewall = protos.google.cloud.compute.v1.IFirewall;
type PolicyRule = protos.google.cloud.compute.v1.IFirewallPolicyRule;
type Matcher = protos.google.cloud.compute.v1.IFirewallPolicyRuleMatcher;

/** As much as the answers for an instance and for a network have in common. */
export interface EffectiveFirewalls {
  readonly firewalls?: readonly Firewall[] | null;
  readonly firewallPolicys?: readonly Policy[] | null;
}

export interface Policy {
  readonly type?: string | null;
  readonly name?: string | null;
  readonly shortName?: string | null;
  readonly priority?: number | null;
  readonly rules?: readonly PolicyRule[] | null;
}

/** The first packet of a connection over TCP: an answer to what was let through needs no rule. */
export interface Connection {
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
type Match = 'no' | { readonly onTarget: readonly string[]; readonly on: readonly string[] };

export interface Rule {
  /** Of a VPC firewall rule there is none. */
  readonly policy?: Policy;
  readonly name: string;
  readonly priority: number;
  readonly action: 'allow' | 'deny' | 'goto_next' | 'inspect';
  readonly match: Match;
}

/** How a connection may end, and what that depends on; without a rule by what is implied. */
export interface Outcome {
  readonly action: 'allow' | 'deny' | 'inspect';
  readonly rule?: Rule;
  /** What the target must be: `instances with the tag x`. */
  readonly onTarget: readonly string[];
  /** What cannot be told from here. */
  readonly on: readonly string[];
}

/**
 * Every outcome that is possible, in the order in which rules are asked; one, where nothing is open
 * (https://cloud.google.com/firewall/docs/firewall-policies-rule-eval-order).
 * @param order `networkFirewallPolicyEnforcementOrder` of the network
 */
export function outcomesOf(
  connection: Connection,
  { firewalls, firewallPolicys }: EffectiveFirewalls,
  order: string | null | undefined,
): Outcome[] {
  const policies = (firewallPolicys ?? []).toSorted((a, b) => rankOf(a) - rankOf(b) || associated(a, b));
  const tiers = policies.map((policy) => ({
    rank: rankOf(policy),
    rules: (policy.rules ?? []).filter(isOn).map((rule) => ofPolicy(connection, policy, rule)),
  }));
  const own = (firewalls ?? []).filter(isOn).map((rule) => ofNetwork(connection, rule));
  const vpcRank = order === 'BEFORE_CLASSIC_FIREWALL' ? ranks.length : 2;
  const all = [...tiers, { rank: vpcRank - 0.5, rules: own }].toSorted((a, b) => a.rank - b.rank);
  return follow(
    all.map(({ rules }) => rules.toSorted(byPriority)),
    connection.direction,
  );
}

/** The types of policies, in the order in which they are asked; VPC firewall rules come between or after them. */
const ranks = [/^HIERARCHY$/, /^SYSTEM/, /^NETWORK$/, /^NETWORK_REGIONAL$/];
const rankOf = ({ type }: Policy): number => {
  const rank = ranks.findIndex((one) => one.test(type ?? ''));
  return rank === -1 ? 0 : rank;
};
/** Those of organisation and folders come in their order. */
const associated = (a: Policy, b: Policy): number =>
  a.type === 'HIERARCHY' ? 0 : (a.priority ?? 0) - (b.priority ?? 0);

const isOn = ({ disabled }: { readonly disabled?: boolean | null }): boolean => !disabled;

/** Of equals a denial counts (Firewall.priority). */
const byPriority = (a: Rule, b: Rule): number =>
  a.priority - b.priority || Number(b.action === 'deny') - Number(a.action === 'deny');

function follow(tiers: readonly (readonly Rule[])[], direction: Connection['direction']): Outcome[] {
  const [tier, ...rest] = tiers;
  if (!tier) return [{ action: direction === 'EGRESS' ? 'allow' : 'deny', onTarget: [], on: [] }];
  const asked: { rule: Rule; match: Conditions }[] = [];
  for (const rule of tier) {
    if (rule.match === 'no') continue;
    asked.push({ rule, match: rule.match });
    if (isCertain(rule.match)) break;
  }
  const found = asked.flatMap(({ rule, match }): Outcome[] =>
    rule.action === 'goto_next' ? [] : [{ ...match, action: rule.action, rule }],
  );
  const passed = asked.filter(({ rule }) => rule.action === 'goto_next').map(({ match }) => match);
  const isDecided = asked.some(({ rule, match }) => rule.action !== 'goto_next' && isCertain(match));
  if (isDecided && passed.length === 0) return found;
  // However many rules pass it on, the tiers behind are followed once.
  const under = isDecided ? passed : [];
  return [...found, ...follow(rest, direction).map((outcome) => ({ ...outcome, ...joined(under, outcome) }))];
}

type Conditions = Exclude<Match, 'no'>;
const isCertain = ({ on, onTarget }: Conditions): boolean => on.length + onTarget.length === 0;

/** What any of the rules that pass a connection on asks for, and then what the outcome itself does. */
function joined(under: readonly Conditions[], { on, onTarget }: Conditions): Conditions {
  return {
    on: [...new Set([...under.flatMap((one) => one.on), ...on])],
    onTarget: [...new Set([...under.flatMap((one) => one.onTarget), ...onTarget])],
  };
}

const always: Match = { onTarget: [], on: [] };
const onlyIf = (what: string): Match => ({ onTarget: [], on: [what] });

const both = (a: Match, b: Match): Match =>
  a === 'no' || b === 'no' ? 'no' : { onTarget: [...a.onTarget, ...b.onTarget], on: [...a.on, ...b.on] };
const allOf = (matches: readonly Match[]): Match => matches.reduce(both, always);
/** The surest of them. */
const anyOf = (matches: readonly Match[]): Match =>
  matches.find((match) => match !== 'no' && match.on.length === 0) ??
  matches.find((match) => match !== 'no') ??
  'no';

function ofNetwork(connection: Connection, rule: Firewall): Rule {
  const { allowed, denied, direction, name, priority } = rule;
  const isAllow = Boolean(allowed?.length);
  const protocols = (isAllow ? allowed : denied) ?? [];
  return {
    name: name ?? '',
    priority: priority ?? 1_000,
    action: isAllow ? 'allow' : 'deny',
    match: allOf([
      isOfDirection(connection, direction ?? 'INGRESS'),
      carries(
        connection,
        protocols.map(({ IPProtocol, ports }) => ({ ipProtocol: IPProtocol, ports })),
      ),
      isForTarget(connection, rule),
      comesFrom(connection, rule),
      isAmong(rule.destinationRanges, connection.destination),
    ]),
  };
}

const isOfDirection = (connection: Connection, direction: string | null | undefined): Match =>
  direction === connection.direction ? always : 'no';

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
function carries({ port }: Connection, protocols: readonly Protocol[]): Match {
  const isCarried = protocols.some(
    ({ ipProtocol, ports }) =>
      ['all', 'tcp', '6'].includes(ipProtocol?.toLowerCase() ?? '') &&
      (!ports?.length || ports.some((range) => hasPort(range, port))),
  );
  return isCarried ? always : 'no';
}

interface Targets {
  readonly targetTags?: readonly string[] | null;
  readonly targetServiceAccounts?: readonly string[] | null;
}

function isForTarget({ target }: Connection, { targetTags, targetServiceAccounts }: Targets): Match {
  const wanted = [...(targetTags ?? []), ...(targetServiceAccounts ?? [])];
  if (wanted.length === 0) return always;
  if (target) return wanted.some((name) => namesOf(target).includes(name)) ? always : 'no';
  const kind = targetTags?.length ? 'tag' : 'service account';
  return { onTarget: [`instances with the ${kind} ${wanted.join(' or ')}`], on: [] };
}

/** Its network tags and service accounts. */
const namesOf = ({ tags, serviceAccounts }: Instance): string[] => [
  ...(tags?.items ?? []),
  ...(serviceAccounts ?? []).flatMap(({ email }) => email ?? []),
];

/** Ranges or tags or accounts; the last two for the primary addresses of instances of the same network. */
function comesFrom({ origin, source }: Connection, rule: Firewall): Match {
  const { sourceRanges, sourceTags, sourceServiceAccounts } = rule;
  const names = [...(sourceTags ?? []), ...(sourceServiceAccounts ?? [])];
  const isNamed = origin !== undefined && names.some((name) => namesOf(origin).includes(name));
  const primary = origin?.networkInterfaces?.[0]?.networkIP;
  const byName = isSame(primary, source) ? always : onlyIf('whether tags count for an alias address');
  if (names.length === 0) return isAmong(sourceRanges, source);
  return anyOf([sourceRanges?.length ? isAmong(sourceRanges, source) : 'no', isNamed ? byName : 'no']);
}

const isSame = (address: string | null | undefined, range: Cidr): boolean =>
  Boolean(address) && parseAddress(address ?? '').text === range.text;

/** No ranges stand for all. */
const isAmong = (ranges: readonly string[] | null | undefined, address: Cidr): Match =>
  ranges?.length ? anyOf(ranges.map((range) => holds(range, address))) : always;

function holds(range: string, address: Cidr): Match {
  try {
    return contains(range.includes('/') ? parseCidr(range) : parseAddress(range), address) ? always : 'no';
  } catch (thrown) {
    if (thrown instanceof CidrError) return onlyIf(`what ${JSON.stringify(range)} holds`);
    throw thrown;
  }
}

const actions: Readonly<Record<string, Rule['action']>> = {
  allow: 'allow',
  deny: 'deny',
  goto_next: 'goto_next',
};

function ofPolicy(connection: Connection, policy: Policy, rule: PolicyRule): Rule {
  const { action, direction, match, priority, ruleName, targetType } = rule;
  const { source, destination } = connection;
  return {
    policy,
    name: ruleName ?? '',
    priority: priority ?? 0,
    action: actions[action ?? ''] ?? 'inspect',
    match: allOf([
      isOfDirection(connection, direction),
      targetType === 'INTERNAL_MANAGED_LB' ? 'no' : always,
      match?.layer4Configs?.length ? carries(connection, match.layer4Configs) : always,
      isForTarget(connection, { targetServiceAccounts: rule.targetServiceAccounts ?? [] }),
      isForTags(connection, rule),
      isAtEnd(
        match?.srcIpRanges,
        source,
        openIn(match, 'src'),
        match?.srcNetworkType ?? match?.srcNetworkContext,
      ),
      isAtEnd(
        match?.destIpRanges,
        destination,
        openIn(match, 'dest'),
        match?.destNetworkType ?? match?.destNetworkContext,
      ),
    ]),
  };
}

/** For an instance only the rules that are for it are told; of a network all are. */
function isForTags({ target }: Connection, { targetSecureTags }: PolicyRule): Match {
  if (target || !targetSecureTags?.length) return always;
  const names = targetSecureTags.map(({ name }) => name ?? '').join(' or ');
  return { onTarget: [`instances with the secure tag ${names}`], on: [] };
}

/** What a matcher asks for that addresses do not tell. */
function openIn(match: Matcher | null | undefined, side: 'src' | 'dest'): string[] {
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

function isAtEnd(
  ranges: readonly string[] | null | undefined,
  address: Cidr,
  open: readonly string[],
  type: string | null | undefined,
): Match {
  const byRange: readonly Match[] = ranges?.length || open.length === 0 ? [isAmong(ranges, address)] : [];
  const byOther = open.map((kind) => onlyIf(`whether ${kind} holds ${address.text}`));
  return both(anyOf([...byRange, ...byOther]), isOfType(type, address));
}

function isOfType(type: string | null | undefined, address: Cidr): Match {
  if (!type || type === 'UNSPECIFIED') return always;
  if (type === 'INTERNET') return isInternal(address) ? 'no' : onlyIf('what counts as internet');
  return type === 'NON_INTERNET' && isInternal(address) ? always : onlyIf(`what counts as ${type}`);
}
