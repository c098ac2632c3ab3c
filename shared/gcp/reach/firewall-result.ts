import type { Cidr } from '../../core/model/cidr';
import type { CheckResult } from '../../core/doctor/check';
import { definedOnly } from '../../core/util/collections';
import { networkKey, type NetworkRef } from '../discover/networks';
import {
  evaluateRules,
  type EffectiveFirewalls,
  type EffectiveRule,
  type RuleOutcome,
} from './firewall-rules';
import { allowCommand } from './fix-command';
import type { Flow } from './rule-match';

export interface FirewallCheck {
  readonly flow: Flow;
  readonly rules: EffectiveFirewalls;
  /** `networkFirewallPolicyEnforcementOrder` of the network. */
  readonly order: string | null | undefined;
  readonly ref: NetworkRef;
  /** The source range that a fix allows. */
  readonly source: Cidr;
}

/** Do the firewall rules of a network allow the connection? */
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
      : [`VPC firewall rule ${disabled} of network ${networkKey(ref)} would allow it but is disabled.`];
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

/** Rules that allow some instances are ok although others are denied: which ones depends on their tags. */
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
