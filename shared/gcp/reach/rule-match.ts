import type { protos } from '@google-cloud/compute';
import { isInternal } from '../../core/model/reserved-ranges';
import {
  contains,
  parseAddress,
  toCidr,
  tryParseAddress,
  tryParseCidr,
  type Address,
} from '../../core/model/cidr';
import type { Instance } from '../discover/networks';

export type VpcRule = protos.google.cloud.compute.v1.IFirewall;
export type PolicyRule = protos.google.cloud.compute.v1.IFirewallPolicyRule;
type Matcher = protos.google.cloud.compute.v1.IFirewallPolicyRuleMatcher;

/** The first packet of a TCP connection. Firewalls are stateful, so return traffic needs no rule. */
export interface Flow {
  readonly direction: 'EGRESS' | 'INGRESS';
  readonly source: Address;
  readonly destination: Address;
  readonly port: number;
  /** The instance to which the rules apply. Absent if the rules may apply to any instance of the network. */
  readonly target?: Instance;
  /**
   * The sending instance, if it is in the network of the rules. Source tags do not match instances in peered networks.
   */
  readonly origin?: Instance;
}

/** The conditions under which a rule matches. A rule without conditions certainly matches. */
export interface Conditions {
  /** Conditions for the target, such as `instances with tag web`. */
  readonly targetConditions: readonly string[];
  /** Conditions that could not be checked, such as `whether a domain name matches 10.0.0.1`. */
  readonly conditions: readonly string[];
}

export type RuleMatch = 'no' | Conditions;

export interface EffectivePolicy {
  readonly type?: string | null;
  readonly name?: string | null;
  readonly shortName?: string | null;
  readonly priority?: number | null;
  readonly rules?: readonly PolicyRule[] | null;
}

export interface EffectiveRule {
  /** Absent for a VPC firewall rule. */
  readonly policy?: EffectivePolicy;
  readonly name: string;
  readonly priority: number;
  readonly action: 'allow' | 'deny' | 'goto_next' | 'inspect';
  readonly match: RuleMatch;
}

const always: RuleMatch = { targetConditions: [], conditions: [] };
const onlyIf = (condition: string): RuleMatch => ({ targetConditions: [], conditions: [condition] });

function both(a: RuleMatch, b: RuleMatch): RuleMatch {
  if (a === 'no' || b === 'no') return 'no';
  return {
    targetConditions: [...a.targetConditions, ...b.targetConditions],
    conditions: [...a.conditions, ...b.conditions],
  };
}

const allOf = (matches: readonly RuleMatch[]): RuleMatch => matches.reduce(both, always);

/**
 * Combines alternative matches. Returns a match without conditions if there is one, otherwise a match with
 * conditions.
 */
const anyOf = (matches: readonly RuleMatch[]): RuleMatch =>
  matches.find((match) => match !== 'no' && match.conditions.length === 0) ??
  matches.find((match) => match !== 'no') ??
  'no';

export function matchVpcRule(flow: Flow, rule: VpcRule): RuleMatch {
  const protocols = (rule.allowed?.length ? rule.allowed : rule.denied) ?? [];
  return allOf([
    matchesDirection(flow, rule.direction ?? 'INGRESS'),
    matchesProtocol(
      flow,
      protocols.map(({ IPProtocol, ports }) => ({ ipProtocol: IPProtocol, ports })),
    ),
    matchesTarget(flow, rule),
    matchesSource(flow, rule),
    matchesRanges(rule.destinationRanges, flow.destination),
  ]);
}

export function matchPolicyRule(flow: Flow, rule: PolicyRule): RuleMatch {
  const { direction, match, targetType, targetServiceAccounts } = rule;
  return allOf([
    matchesDirection(flow, direction),
    targetType === 'INTERNAL_MANAGED_LB' ? 'no' : always,
    match?.layer4Configs?.length ? matchesProtocol(flow, match.layer4Configs) : always,
    matchesTarget(flow, { targetServiceAccounts: targetServiceAccounts ?? [] }),
    matchesSecureTags(flow, rule),
    matchesEndpoint(flow.source, {
      ranges: match?.srcIpRanges,
      networkType: match?.srcNetworkType ?? match?.srcNetworkContext,
      uncheckable: uncheckableCriteria(match, 'src'),
    }),
    matchesEndpoint(flow.destination, {
      ranges: match?.destIpRanges,
      networkType: match?.destNetworkType ?? match?.destNetworkContext,
      uncheckable: uncheckableCriteria(match, 'dest'),
    }),
  ]);
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

/** Whether the rule applies to the packet's protocol and port. The protocol number of TCP is 6. */
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
  return { targetConditions: [`instances with ${kind} ${wanted.join(' or ')}`], conditions: [] };
}

const tagsAndAccounts = ({ tags, serviceAccounts }: Instance): string[] => [
  ...(tags?.items ?? []),
  ...(serviceAccounts ?? []).flatMap(({ email }) => email ?? []),
];

/**
 * Matches the source by range, tag or service account. Tags and accounts match instances of the same network through
 * their primary address.
 */
function matchesSource({ origin, source }: Flow, rule: VpcRule): RuleMatch {
  const { sourceRanges, sourceTags, sourceServiceAccounts } = rule;
  const names = [...(sourceTags ?? []), ...(sourceServiceAccounts ?? [])];
  if (names.length === 0) return matchesRanges(sourceRanges, source);
  const byRange = sourceRanges?.length ? matchesRanges(sourceRanges, source) : 'no';
  const hasName = origin !== undefined && names.some((name) => tagsAndAccounts(origin).includes(name));
  if (!hasName) return byRange;
  const primary = origin.networkInterfaces?.[0]?.networkIP;
  const byName = isSame(primary, source) ? always : onlyIf('whether source tags match an alias address');
  return anyOf([byRange, byName]);
}

const isSame = (text: string | null | undefined, address: Address): boolean =>
  Boolean(text) && parseAddress(text ?? '').text === address.text;

/** Matches the address against ranges. An empty list matches every address. */
const matchesRanges = (ranges: readonly string[] | null | undefined, address: Address): RuleMatch =>
  ranges?.length ? anyOf(ranges.map((range) => matchesRange(range, address))) : always;

function matchesRange(text: string, address: Address): RuleMatch {
  const single = tryParseAddress(text);
  const range = single ? toCidr(single) : tryParseCidr(text);
  if (!range) return onlyIf(`whether ${JSON.stringify(text)} contains ${address.text}`);
  return contains(range, address) ? always : 'no';
}

/**
 * Matches secure tags. The API has already filtered the rules of an instance by its secure tags, but not the rules of
 * a network.
 */
function matchesSecureTags({ target }: Flow, { targetSecureTags }: PolicyRule): RuleMatch {
  if (target || !targetSecureTags?.length) return always;
  const names = targetSecureTags.map(({ name }) => name ?? '').join(' or ');
  return { targetConditions: [`instances with secure tag ${names}`], conditions: [] };
}

/** Returns the criteria that cannot be evaluated from an address alone. */
function uncheckableCriteria(match: Matcher | null | undefined, side: 'src' | 'dest'): string[] {
  const criteria = {
    'an address group': match?.[`${side}AddressGroups`],
    'a domain name': match?.[`${side}Fqdns`],
    'a country': match?.[`${side}RegionCodes`],
    'a threat list': match?.[`${side}ThreatIntelligences`],
    'a secure tag': side === 'src' ? match?.srcSecureTags : undefined,
    'a network list': side === 'src' ? match?.srcNetworks : undefined,
  };
  return Object.entries(criteria).flatMap(([name, values]) => (values?.length ? [name] : []));
}

interface EndpointCriteria {
  readonly ranges: readonly string[] | null | undefined;
  readonly networkType: string | null | undefined;
  readonly uncheckable: readonly string[];
}

function matchesEndpoint(
  address: Address,
  { ranges, networkType, uncheckable }: EndpointCriteria,
): RuleMatch {
  const byRange = ranges?.length || uncheckable.length === 0 ? [matchesRanges(ranges, address)] : [];
  const byOther = uncheckable.map((name) => onlyIf(`whether ${name} matches ${address.text}`));
  return both(anyOf([...byRange, ...byOther]), matchesNetworkType(networkType, address));
}

function matchesNetworkType(type: string | null | undefined, address: Address): RuleMatch {
  if (!type || type === 'UNSPECIFIED') return always;
  const unknown = onlyIf(`whether ${address.text} counts as ${type}`);
  if (type === 'INTERNET') return isInternal(address) ? 'no' : unknown;
  return type === 'NON_INTERNET' && isInternal(address) ? always : unknown;
}
