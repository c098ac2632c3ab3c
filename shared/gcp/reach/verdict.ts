import { addressOf } from '../../core/cidr';
import type { NetworkRef } from '../network';
import { outcomesOf, type Connection, type EffectiveFirewalls, type Outcome, type Rule } from './firewall';
import { gcloud } from './gcloud';
import { nameOf, type Told } from './scene';
import { inProject } from './view';

/**
 * What the firewall rules of a network say to a connection.
 * @param from what a rule that is missing is to let in; the source alone unless told
 */
export function verdict(
  connection: Connection,
  rules: EffectiveFirewalls,
  order: string | null | undefined,
  ref: NetworkRef,
  from?: string,
): Told {
  const outcomes = outcomesOf(connection, rules, order);
  const evidence = firstOf([...new Set(outcomes.map((outcome) => inWords(connection, outcome, ref)))]);
  const state = stateOf(outcomes);
  if (state === 'ok') return { state, evidence };
  const decisive = outcomes.find(({ action }) => action !== 'allow')?.rule;
  const disabled = state === 'broken' ? disabledRule(connection, rules) : undefined;
  if (disabled)
    evidence.push(`VPC firewall rule ${disabled} of ${nameOf(ref)} would allow it, and is disabled.`);
  const cure = opening(connection, decisive, ref, from, disabled);
  return { state, evidence, ...(cure && { cure }) };
}

/** As many as people read. */
const shownRules = 12;
const shownConditions = 3;

const firstOf = (lines: readonly string[]): string[] => [
  ...lines.slice(0, shownRules),
  ...(lines.length > shownRules ? [`${lines.length - shownRules} more rules may decide.`] : []),
];

const listed = (conditions: readonly string[]): string =>
  [
    ...conditions.slice(0, shownConditions),
    ...(conditions.length > shownConditions ? [`${conditions.length - shownConditions} more`] : []),
  ].join(' and ');

/** Which instances a rule is for is a matter of their tags; that nobody else is let in is no contradiction. */
function stateOf(outcomes: readonly Outcome[]): 'ok' | 'broken' | 'unknown' {
  if (outcomes.every(({ action }) => action === 'allow')) return 'ok';
  if (outcomes.every(({ action }) => action === 'deny')) return 'broken';
  const isFor = ({ action, rule, on }: Outcome) =>
    on.length === 0 && (action === 'allow' || (action === 'deny' && !rule));
  return outcomes.every(isFor) ? 'ok' : 'unknown';
}

function disabledRule(connection: Connection, { firewalls }: EffectiveFirewalls): string | undefined {
  const found = (firewalls ?? []).find((rule) => {
    if (!rule.disabled || !rule.allowed?.length) return false;
    const [first] = outcomesOf(connection, { firewalls: [{ ...rule, disabled: false }] }, undefined);
    return first?.action === 'allow' && first.rule !== undefined;
  });
  return found?.name ?? undefined;
}

const verbs = { allow: 'allows', deny: 'denies', inspect: 'has inspected' } as const;

function inWords(connection: Connection, { action, rule, onTarget, on }: Outcome, ref: NetworkRef): string {
  const { direction, source, destination, port } = connection;
  const isOut = direction === 'EGRESS';
  const what = isOut ? `tcp:${port} to ${addressOf(destination)}` : `tcp:${port} from ${addressOf(source)}`;
  if (!rule) {
    return isOut
      ? `No rule denies ${what}: egress is allowed where no rule says otherwise.`
      : `No ${onTarget.length ? 'other ' : ''}rule allows ${what}: ingress is denied where no rule says otherwise.`;
  }
  const only = onTarget.length > 0 ? `, for ${listed(onTarget)}` : '';
  const open = on.length > 0 ? `; open is ${listed(on)}` : '';
  return `${ruleName(rule, ref)} ${verbs[action]} ${what}${only}${open}.`;
}

function ruleName({ policy, name, priority }: Rule, ref: NetworkRef): string {
  if (!policy) return `VPC firewall rule ${name} (priority ${priority}) of ${nameOf(ref)}`;
  return `Rule ${priority} of firewall policy ${policy.shortName ?? policy.name ?? ''} (${policy.type ?? ''})`;
}

/** The command that lets the connection through, before the rule that decides now. */
function opening(
  connection: Connection,
  decisive: Rule | undefined,
  ref: NetworkRef,
  from: string | undefined,
  disabled: string | undefined,
): string | undefined {
  const priority = decisive ? decisive.priority - 1 : 1_000;
  if (decisive?.policy) return priority < 0 ? undefined : openingInPolicy(connection, decisive, ref, from);
  if (disabled && !decisive)
    return gcloud('firewall-rules', 'update', disabled, ...inProject(ref), '--no-disabled');
  if (decisive && priority < 0)
    return gcloud('firewall-rules', 'update', decisive.name, ...inProject(ref), '--disabled');
  const { direction, port } = connection;
  const name = `peermasq-${direction.toLowerCase()}-tcp-${port}`;
  return gcloud(
    ...['firewall-rules', 'create', name, ...inProject(ref), '--network', ref.network],
    ...['--direction', direction, '--action', 'allow', '--rules', `tcp:${port}`],
    ...(direction === 'EGRESS'
      ? ['--destination-ranges', connection.destination.text]
      : ['--source-ranges', from ?? connection.source.text]),
    ...['--priority', String(priority)],
  );
}

function openingInPolicy(
  { direction, destination, source, port }: Connection,
  { policy, priority }: Rule,
  ref: NetworkRef,
  from = source.text,
): string | undefined {
  const [group, ...place] = placeOf(policy?.type ?? '', ref);
  if (!group) return undefined;
  return gcloud(
    ...[group, 'rules', 'create', String(priority - 1), '--firewall-policy', policy?.name ?? '', ...place],
    ...['--direction', direction, '--action', 'allow', '--layer4-configs', `tcp:${port}`],
    ...(direction === 'EGRESS' ? ['--dest-ip-ranges', destination.text] : ['--src-ip-ranges', from]),
  );
}

/** Where gcloud finds a policy. Those of Google itself nobody can change, and those of a region need its name. */
function placeOf(type: string, ref: NetworkRef): string[] {
  if (type === 'HIERARCHY') return ['firewall-policies'];
  return type === 'NETWORK'
    ? ['network-firewall-policies', '--global-firewall-policy', ...inProject(ref)]
    : [];
}
