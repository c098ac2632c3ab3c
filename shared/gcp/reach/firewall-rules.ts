import type { Cidr } from '../../core/model/cidr';
import type { CheckResult } from '../../core/doctor/check';
import { definedOnly } from '../../core/util/collections';
import { networkKey, type NetworkRef } from '../discover/networks';
import { allowCommand } from './fix-command';
import {
  matchPolicyRule,
  matchVpcRule,
  type Conditions,
  type EffectivePolicy,
  type EffectiveRule,
  type Flow,
  type PolicyRule,
  type VpcRule,
} from './rule-match';

/** The fields that the API returns for both an instance and a network. */
export interface EffectiveFirewalls {
  readonly firewalls?: readonly VpcRule[] | null;
  readonly firewallPolicys?: readonly EffectivePolicy[] | null;
}

export interface FirewallCheck {
  readonly flow: Flow;
  readonly rules: EffectiveFirewalls;
  /** The field `networkFirewallPolicyEnforcementOrder` of the network. */
  readonly order: string | null | undefined;
  readonly ref: NetworkRef;
  /** The source range that the fix command allows. */
  readonly source: Cidr;
}

/** Checks whether the firewall rules of a network allow the connection. */
export function checkFirewallRules({ flow, rules, order, ref, source }: FirewallCheck): CheckResult {
  const outcomes = evaluateRules(flow, rules, order);
  const found = truncate([...new Set(outcomes.map((outcome) => formatOutcome(flow, outcome, ref)))]);
  const state = stateOf(outcomes);
  if (state === 'ok') return { state, evidence: found };
  const blocking = outcomes.find(({ action }) => action !== 'allow')?.rule;
  const disabled = state === 'broken' ? disabledRule(flow, rules) : undefined;
  const disabledEvidence =
    disabled === undefined
      ? []
      : [
          `VPC firewall rule ${disabled} of network ${networkKey(ref)} would allow the connection but is disabled.`,
        ];
  const fix = allowCommand({ flow, ref, blocking, disabled, source });
  return definedOnly({ state, evidence: [...found, ...disabledEvidence], fix });
}

const maxRules = 12;
const maxConditions = 3;

const truncate = (lines: readonly string[]): string[] => [
  ...lines.slice(0, maxRules),
  ...(lines.length > maxRules ? [`${lines.length - maxRules} more rules may apply.`] : []),
];

const joinConditions = (conditions: readonly string[]): string =>
  [
    ...conditions.slice(0, maxConditions),
    ...(conditions.length > maxConditions ? [`${conditions.length - maxConditions} more`] : []),
  ].join(' and ');

/**
 * Summarizes the outcomes. If the rules allow some instances and deny others, the result is `ok`, because tags
 * determine which instances are allowed.
 */
function stateOf(outcomes: readonly RuleOutcome[]): 'ok' | 'broken' | 'unknown' {
  if (outcomes.every(({ action }) => action === 'allow')) return 'ok';
  if (outcomes.every(({ action }) => action === 'deny')) return 'broken';
  const isAllowedOrImplied = ({ action, rule, conditions }: RuleOutcome) =>
    conditions.length === 0 && (action === 'allow' || (action === 'deny' && !rule));
  return outcomes.every(isAllowedOrImplied) ? 'ok' : 'unknown';
}

function disabledRule(flow: Flow, { firewalls }: EffectiveFirewalls): string | undefined {
  const found = (firewalls ?? []).find((rule) => {
    if (!rule.disabled || !rule.allowed?.length) return false;
    const [first] = evaluateRules(flow, { firewalls: [{ ...rule, disabled: false }] }, undefined);
    return first?.action === 'allow' && first.rule !== undefined;
  });
  return found?.name ?? undefined;
}

const verbs = { allow: 'allows', deny: 'denies', inspect: 'inspects' } as const;

function formatOutcome(flow: Flow, outcome: RuleOutcome, ref: NetworkRef): string {
  const { action, rule, targetConditions, conditions } = outcome;
  const traffic =
    flow.direction === 'EGRESS'
      ? `egress tcp:${flow.port} to ${flow.destination.text}`
      : `ingress tcp:${flow.port} from ${flow.source.text}`;
  if (!rule && flow.direction === 'EGRESS')
    return `No rule denies ${traffic}, and egress is allowed by default.`;
  if (!rule) {
    const other = targetConditions.length > 0 ? 'other ' : '';
    return `No ${other}rule allows ${traffic}, and ingress is denied by default.`;
  }
  const targets = targetConditions.length > 0 ? `, for ${joinConditions(targetConditions)}` : '';
  const unknown = conditions.length > 0 ? `; could not check ${joinConditions(conditions)}` : '';
  return `${ruleName(rule, ref)} ${verbs[action]} ${traffic}${targets}${unknown}.`;
}

function ruleName({ policy, name, priority }: EffectiveRule, ref: NetworkRef): string {
  if (!policy) return `VPC firewall rule ${name} (priority ${priority}) of network ${networkKey(ref)}`;
  return `Rule ${priority} of firewall policy ${policy.shortName ?? policy.name ?? ''} (${policy.type ?? ''})`;
}

/** A possible result for a connection. Without `rule`, the implied rule applies. */
interface RuleOutcome extends Conditions {
  readonly action: 'allow' | 'deny' | 'inspect';
  readonly rule?: EffectiveRule;
}

/**
 * Returns every possible outcome in evaluation order. If nothing is uncertain, there is exactly one
 * (https://cloud.google.com/firewall/docs/firewall-policies-rule-eval-order).
 * @param order the field `networkFirewallPolicyEnforcementOrder` of the network
 */
function evaluateRules(
  flow: Flow,
  { firewalls, firewallPolicys }: EffectiveFirewalls,
  order: string | null | undefined,
): RuleOutcome[] {
  const policies = (firewallPolicys ?? []).toSorted((a, b) => rankOf(a) - rankOf(b) || byAssociation(a, b));
  const policyTiers = policies.map((policy) => ({
    rank: rankOf(policy),
    rules: (policy.rules ?? []).filter(isEnabled).map((rule) => fromPolicyRule(flow, policy, rule)),
  }));
  const vpcTier = {
    rank: order === 'BEFORE_CLASSIC_FIREWALL' ? policyTypes.length : beforeNetworkPolicies,
    rules: (firewalls ?? []).filter(isEnabled).map((rule) => fromVpcRule(flow, rule)),
  };
  const tiers = [...policyTiers, vpcTier].toSorted((a, b) => a.rank - b.rank);
  return evaluateTiers(
    tiers.map(({ rules }) => rules.toSorted(byPriority)),
    flow.direction,
  );
}

/**
 * Policy types, in evaluation order. VPC firewall rules are evaluated either before or after the last two policy types.
 */
const policyTypes = [/^HIERARCHY$/, /^SYSTEM/, /^NETWORK$/, /^NETWORK_REGIONAL$/];
const beforeNetworkPolicies = 1.5;

function rankOf({ type }: EffectivePolicy): number {
  const rank = policyTypes.findIndex((one) => one.test(type ?? ''));
  return rank === -1 ? 0 : rank;
}

/**
 * Compares policies of the same type. The API returns the policies of the organization and its folders in evaluation
 * order.
 */
const byAssociation = (a: EffectivePolicy, b: EffectivePolicy): number =>
  a.type === 'HIERARCHY' ? 0 : (a.priority ?? 0) - (b.priority ?? 0);

const isEnabled = ({ disabled }: { readonly disabled?: boolean | null }): boolean => !disabled;

/** Compares rules. At equal priority, a deny rule takes precedence (Firewall.priority). */
const byPriority = (a: EffectiveRule, b: EffectiveRule): number =>
  a.priority - b.priority || Number(b.action === 'deny') - Number(a.action === 'deny');

function fromVpcRule(flow: Flow, rule: VpcRule): EffectiveRule {
  return {
    name: rule.name ?? '',
    priority: rule.priority ?? 1_000,
    action: rule.allowed?.length ? 'allow' : 'deny',
    match: matchVpcRule(flow, rule),
  };
}

const policyActions: Readonly<Record<string, EffectiveRule['action']>> = {
  allow: 'allow',
  deny: 'deny',
  goto_next: 'goto_next',
};

function fromPolicyRule(flow: Flow, policy: EffectivePolicy, rule: PolicyRule): EffectiveRule {
  return {
    policy,
    name: rule.ruleName ?? '',
    priority: rule.priority ?? 0,
    action: policyActions[rule.action ?? ''] ?? 'inspect',
    match: matchPolicyRule(flow, rule),
  };
}

function evaluateTiers(
  tiers: readonly (readonly EffectiveRule[])[],
  direction: Flow['direction'],
): RuleOutcome[] {
  const [tier, ...rest] = tiers;
  if (!tier) {
    const implied = direction === 'EGRESS' ? 'allow' : 'deny';
    return [{ action: implied, targetConditions: [], conditions: [] }];
  }
  const considered = possibleMatches(tier);
  const found = considered.flatMap(({ rule, match }): RuleOutcome[] =>
    rule.action === 'goto_next' ? [] : [{ ...match, action: rule.action, rule }],
  );
  const delegated = considered.filter(({ rule }) => rule.action === 'goto_next').map(({ match }) => match);
  const isDecided = considered.some(({ rule, match }) => rule.action !== 'goto_next' && isCertain(match));
  if (isDecided && delegated.length === 0) return found;
  // The remaining tiers are evaluated only once, even if several rules delegate to them.
  const delegatedMatches = isDecided ? delegated : [];
  const next = evaluateTiers(rest, direction).map((outcome) => ({
    ...outcome,
    ...mergeConditions(delegatedMatches, outcome),
  }));
  return [...found, ...next];
}

interface PossibleMatch {
  readonly rule: EffectiveRule;
  readonly match: Conditions;
}

/** Returns the rules of a tier that may match, up to the first rule that certainly matches. */
function possibleMatches(tier: readonly EffectiveRule[]): PossibleMatch[] {
  const possible: PossibleMatch[] = [];
  for (const rule of tier) {
    if (rule.match === 'no') continue;
    possible.push({ rule, match: rule.match });
    if (isCertain(rule.match)) break;
  }
  return possible;
}

const isCertain = ({ conditions, targetConditions }: Conditions): boolean =>
  conditions.length + targetConditions.length === 0;

/** Merges the conditions of the delegating rules with the conditions of the outcome. */
function mergeConditions(delegated: readonly Conditions[], outcome: Conditions): Conditions {
  const all = [...delegated, outcome];
  return {
    conditions: [...new Set(all.flatMap(({ conditions }) => conditions))],
    targetConditions: [...new Set(all.flatMap(({ targetConditions }) => targetConditions))],
  };
}
