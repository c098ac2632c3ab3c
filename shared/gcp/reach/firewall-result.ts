import { addressOf } from '../../core/model/cidr';
import type { NetworkRef } from '../discover/networks';
import {
  evaluateRules,
  type Flow,
  type EffectiveFirewalls,
  type RuleOutcome,
  type EffectiveRule,
} from './firewall-rules';
import { gcloud } from './fix-command';
import { formatNetwork, type CheckResult } from './path-context';
import { inProject } from './network-reader';

/**
 * What the firewall rules of a network say to a connection.
 * @param from what a rule that is missing is to let in; the source alone unless told
 */
export function checkFirewallRules(
  flow: Flow,
  rules: EffectiveFirewalls,
  order: string | null | undefined,
  ref: NetworkRef,
  missingSource?: string,
): CheckResult {
  const outcomes = evaluateRules(flow, rules, order);
  const evidence = truncated([...new Set(outcomes.map((outcome) => formatOutcome(flow, outcome, ref)))]);
  const state = stateOf(outcomes);
  if (state === 'ok') return { state, evidence };
  const decisive = outcomes.find(({ action }) => action !== 'allow')?.rule;
  const disabled = state === 'broken' ? disabledRule(flow, rules) : undefined;
  if (disabled)
    evidence.push(`VPC firewall rule ${disabled} of ${formatNetwork(ref)} would allow it, and is disabled.`);
  const fix = allowCommand(flow, decisive, ref, missingSource, disabled);
  return { state, evidence, ...(fix && { fix }) };
}

/** As many as people read. */
const shownRules = 12;
const shownConditions = 3;

const truncated = (lines: readonly string[]): string[] => [
  ...lines.slice(0, shownRules),
  ...(lines.length > shownRules ? [`${lines.length - shownRules} more rules may decide.`] : []),
];

const joinConditions = (conditions: readonly string[]): string =>
  [
    ...conditions.slice(0, shownConditions),
    ...(conditions.length > shownConditions ? [`${conditions.length - shownConditions} more`] : []),
  ].join(' and ');

/** Which instances a rule is for is a matter of their tags; that nobody else is let in is no contradiction. */
function stateOf(outcomes: readonly RuleOutcome[]): 'ok' | 'broken' | 'unknown' {
  if (outcomes.every(({ action }) => action === 'allow')) return 'ok';
  if (outcomes.every(({ action }) => action === 'deny')) return 'broken';
  const isFor = ({ action, rule, conditions }: RuleOutcome) =>
    conditions.length === 0 && (action === 'allow' || (action === 'deny' && !rule));
  return outcomes.every(isFor) ? 'ok' : 'unknown';
}

function disabledRule(flow: Flow, { firewalls }: EffectiveFirewalls): string | undefined {
  const found = (firewalls ?? []).find((rule) => {
    if (!rule.disabled || !rule.allowed?.length) return false;
    const [first] = evaluateRules(flow, { firewalls: [{ ...rule, disabled: false }] }, undefined);
    return first?.action === 'allow' && first.rule !== undefined;
  });
  return found?.name ?? undefined;
}

const verbs = { allow: 'allows', deny: 'denies', inspect: 'has inspected' } as const;

function formatOutcome(
  flow: Flow,
  { action, rule, targetConditions, conditions }: RuleOutcome,
  ref: NetworkRef,
): string {
  const { direction, source, destination, port } = flow;
  const isOut = direction === 'EGRESS';
  const what = isOut ? `tcp:${port} to ${addressOf(destination)}` : `tcp:${port} from ${addressOf(source)}`;
  if (!rule) {
    return isOut
      ? `No rule denies ${what}: egress is allowed where no rule says otherwise.`
      : `No ${targetConditions.length ? 'other ' : ''}rule allows ${what}: ingress is denied where no rule says otherwise.`;
  }
  const targets = targetConditions.length > 0 ? `, for ${joinConditions(targetConditions)}` : '';
  const unknown = conditions.length > 0 ? `; open is ${joinConditions(conditions)}` : '';
  return `${ruleName(rule, ref)} ${verbs[action]} ${what}${targets}${unknown}.`;
}

function ruleName({ policy, name, priority }: EffectiveRule, ref: NetworkRef): string {
  if (!policy) return `VPC firewall rule ${name} (priority ${priority}) of ${formatNetwork(ref)}`;
  return `Rule ${priority} of firewall policy ${policy.shortName ?? policy.name ?? ''} (${policy.type ?? ''})`;
}

/** The command that lets the connection through, before the rule that decides now. */
function allowCommand(
  flow: Flow,
  decisive: EffectiveRule | undefined,
  ref: NetworkRef,
  missingSource: string | undefined,
  disabled: string | undefined,
): string | undefined {
  const priority = decisive ? decisive.priority - 1 : 1_000;
  if (decisive?.policy)
    return priority < 0 ? undefined : allowInPolicyCommand(flow, decisive, ref, missingSource);
  if (disabled && !decisive)
    return gcloud('firewall-rules', 'update', disabled, ...inProject(ref), '--no-disabled');
  if (decisive && priority < 0)
    return gcloud('firewall-rules', 'update', decisive.name, ...inProject(ref), '--disabled');
  const { direction, port } = flow;
  const name = `peermasq-${direction.toLowerCase()}-tcp-${port}`;
  return gcloud(
    ...['firewall-rules', 'create', name, ...inProject(ref), '--network', ref.network],
    ...['--direction', direction, '--action', 'allow', '--rules', `tcp:${port}`],
    ...(direction === 'EGRESS'
      ? ['--destination-ranges', flow.destination.text]
      : ['--source-ranges', missingSource ?? flow.source.text]),
    ...['--priority', String(priority)],
  );
}

function allowInPolicyCommand(
  { direction, destination, source, port }: Flow,
  { policy, priority }: EffectiveRule,
  ref: NetworkRef,
  missingSource = source.text,
): string | undefined {
  const [group, ...scope] = policyScope(policy?.type ?? '', ref);
  if (!group) return undefined;
  return gcloud(
    ...[group, 'rules', 'create', String(priority - 1), '--firewall-policy', policy?.name ?? '', ...scope],
    ...['--direction', direction, '--action', 'allow', '--layer4-configs', `tcp:${port}`],
    ...(direction === 'EGRESS' ? ['--dest-ip-ranges', destination.text] : ['--src-ip-ranges', missingSource]),
  );
}

/** Where gcloud finds a policy. Those of Google itself nobody can change, and those of a region need its name. */
function policyScope(type: string, ref: NetworkRef): string[] {
  if (type === 'HIERARCHY') return ['firewall-policies'];
  return type === 'NETWORK'
    ? ['network-firewall-policies', '--global-firewall-policy', ...inProject(ref)]
    : [];
}
