import { failedMatches, walk, type Verdict, type Evaluation, type Trace } from '../simulate/walk';
import type { Backend, BaseChain, Rule, Snapshot } from '../model';
import type { Cause, Packet } from '../simulate/packet';
import { removeRuleCommand } from './fix';
import { nearMisses, formatRuleName } from './trace';

export interface RootCause {
  readonly cause: Cause;
  readonly reason: string;
  /** The backend that the cure is for; undefined where nothing is to be cured. */
  readonly backend: Backend | undefined;
  /** Another cure than a rule. */
  readonly fix?: string | null;
}

/** The rule set of peermasq: its chain in iptables, its table in nft. */
export const isPeermasqRule = ({ baseChain, chain }: Pick<Evaluation, 'baseChain' | 'chain'>): boolean =>
  chain.name === 'PEERMASQ' || baseChain.table.name.endsWith(' peermasq');

/** Chains that a kubelet leaves in table mangle so that others find its backend. */
const kubeletHintChains = ['KUBE-IPTABLES-HINT', 'KUBE-KUBELET-CANARY'];

/** The backend of the node's own rules: the kubelet's, else that with most rules in table nat, if there are any. */
export function backendOf({ baseChains }: Snapshot): Backend | undefined {
  const kubeletChain = baseChains.find(({ table }) =>
    kubeletHintChains.some((hint) => table.chains.has(hint)),
  );
  if (kubeletChain) return kubeletChain.table.backend;
  const counts = new Map<Backend, number>();
  const seen = baseChains.filter(({ isNat, unreadable }) => isNat && unreadable === undefined);
  for (const table of new Set(seen.map((baseChain) => baseChain.table))) {
    const isNotPeermasq = (rule: Rule) => !rule.text.includes('PEERMASQ');
    const isPeermasq = table.name.endsWith(' peermasq');
    const count = isPeermasq
      ? 0
      : [...table.chains.values()].flatMap(({ rules }) => rules).filter(isNotPeermasq).length;
    if (count > 0) counts.set(table.backend, (counts.get(table.backend) ?? 0) + count);
  }
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0];
}

/** Where there are no rules to go by: what the dump was printed by. */
const defaultBackend = ({ backends }: Snapshot): Backend =>
  (['iptables-nft', 'iptables-legacy', 'nft'] as const).find((one) => backends.has(one)) ?? 'iptables-nft';

export function findRootCause(snapshot: Snapshot, packet: Packet, trace: Trace): RootCause {
  const { verdicts } = trace;
  const egress = verdicts.filter((verdict) => verdict.kind === 'egress');
  const dropped = verdicts.find((verdict) => verdict.kind === 'dropped');
  if (egress.length === 0) {
    return dropped
      ? { cause: 'dropped', reason: `It is dropped on the node: ${dropped.by}.`, backend: undefined }
      : { cause: 'stays-on-node', reason: 'Its destination is the node itself.', backend: undefined };
  }
  const backend = backendOf(snapshot);
  const translated = egress.filter(({ translation }) => translation !== undefined);
  const dropWarning = dropped ? ` It may also be dropped: ${dropped.by}.` : '';
  const rootCause =
    translated.length === 0
      ? notMasqueradedCause(snapshot, packet, trace, backend)
      : translated.length < egress.length
        ? unknownCause(trace, backend ?? defaultBackend(snapshot))
        : masqueradedCause(trace, translated, backend);
  return { ...rootCause, reason: rootCause.reason + dropWarning };
}

function masqueradedCause(
  { evaluations }: Trace,
  verdicts: readonly Extract<Verdict, { kind: 'egress' }>[],
  nodeBackend: Backend | undefined,
): RootCause {
  const rules = new Set(verdicts.map(({ translation }) => translation?.by));
  const by = evaluations.filter(({ rule }) => rules.has(rule));
  const names = by.map(formatRuleName).join(' or ');
  const reason = `It is masqueraded by ${names}.`;
  const isOtherBackend =
    nodeBackend !== undefined &&
    by.every(
      (evaluation) => isPeermasqRule(evaluation) && evaluation.baseChain.table.backend !== nodeBackend,
    );
  if (!isOtherBackend) return { cause: 'masqueraded', reason, backend: undefined };
  const warning = `Only that does it, and the node's own rules are in ${nodeBackend}: kernels before 4.18 listen to one of the two, and what watches ${nodeBackend} does not see it.`;
  return { cause: 'wrong-backend', reason: `${reason} ${warning}`, backend: nodeBackend };
}

function unknownCause({ evaluations }: Trace, backend: Backend): RootCause {
  const undecided = evaluations.filter(({ matched }) => matched === 'unknown');
  const unreadable = undecided.find(({ baseChain }) => baseChain.unreadable !== undefined)?.baseChain
    .unreadable;
  if (unreadable !== undefined)
    return { cause: 'unknown', reason: `That depends on ${unreadable}.`, backend: undefined };
  const [first] = undecided;
  const reason = first
    ? `That depends on ${formatRuleName(first)}, which cannot be decided from here${undecided.length > 1 ? `, and on ${undecided.length - 1} more` : ''}.`
    : 'That depends on the order in which chains of the same priority act, which no dump tells.';
  return { cause: 'unknown', reason, backend };
}

function notMasqueradedCause(
  snapshot: Snapshot,
  packet: Packet,
  trace: Trace,
  nodeBackend: Backend | undefined,
): RootCause {
  const backend = nodeBackend ?? defaultBackend(snapshot);
  if (packet.isFromNode) {
    const reason =
      'It begins on the node, and no rule gives it another source: it leaves with the address that it has.';
    return { cause: 'no-rule', reason, backend: undefined };
  }
  return (
    findNotrack(snapshot, packet, trace) ??
    findExemption(trace, backend) ??
    findShadowing(snapshot, packet, trace, backend) ??
    findWrongBackend(snapshot, backend) ?? { cause: 'no-rule', reason: describeNoRule(trace), backend }
  );
}

/** Rules of type nat never see what conntrack does not: more rules of theirs would cure nothing. */
function findNotrack(snapshot: Snapshot, packet: Packet, { evaluations }: Trace): RootCause | undefined {
  const notrackEvaluations = evaluations.filter(
    ({ rule, matched }) => matched !== false && rule.targets.some(({ kind }) => kind === 'notrack'),
  );
  const by = notrackEvaluations.find(({ matched }) => matched === true);
  if (!by || evaluations.some(({ baseChain }) => baseChain.isNat)) return undefined;
  const masquerading = findTranslatingRule(
    walk(snapshot, packet, new Set(notrackEvaluations.map(({ rule }) => rule))),
  );
  const reason = [
    `${capitalize(formatRuleName(by))} takes it out of conntrack, and nothing untracked is masqueraded: ${by.rule.text}.`,
    ...(masquerading
      ? [`Without it, ${formatRuleName(masquerading)} would masquerade: ${masquerading.rule.text}`]
      : []),
  ].join(' ');
  const fix = removeRuleCommand(by, packet.destination.family === 6);
  return { cause: 'untracked', reason, backend: undefined, fix };
}

function findExemption({ evaluations }: Trace, backend: Backend): RootCause | undefined {
  const evaluation = evaluations.find(
    (one) => isPeermasqRule(one) && one.matched === true && isTerminal(one),
  );
  if (!evaluation) return undefined;
  const reason = `It is exempt in peermasq's own rule set: ${formatRuleName(evaluation)} returns before any masquerade rule: ${evaluation.rule.text}`;
  return { cause: 'exempt', reason, backend };
}

const isTerminal = ({ rule }: Evaluation) =>
  rule.targets.some(({ kind }) => kind === 'return' || kind === 'accept');

/** A gate by mark or state lets only some packets in on purpose: nothing that stands in the way of the others. */
const isGate = ({ rule }: Evaluation) => rule.matches.some(({ kind }) => kind === 'mark' || kind === 'state');

const isBlocking = (evaluation: Evaluation) =>
  evaluation.baseChain.isNat &&
  evaluation.baseChain.hook === 'postrouting' &&
  evaluation.matched === true &&
  isTerminal(evaluation) &&
  !isGate(evaluation);

/** More rules in the way, one behind the other, are not looked for. */
const maxShadowingRules = 8;

/** Takes away what stands in the way, one rule after the other, until the packet is masqueraded. */
function findShadowing(
  snapshot: Snapshot,
  packet: Packet,
  trace: Trace,
  backend: Backend,
): RootCause | undefined {
  const ignored = new Set<Rule>();
  let { evaluations } = trace;
  let first: Evaluation | undefined;
  for (let removed = 0; removed < maxShadowingRules; removed++) {
    const blocking = evaluations.find(isBlocking);
    if (!blocking) return undefined;
    first ??= blocking;
    ignored.add(blocking.rule);
    const other = walk(snapshot, packet, ignored);
    const masquerading = findTranslatingRule(other);
    if (masquerading) {
      const reason = `${formatRuleName(first)} stands in the way: ${first.rule.text}. Behind it, ${formatRuleName(masquerading)} would masquerade: ${masquerading.rule.text}`;
      return { cause: 'shadowed', reason: capitalize(reason), backend };
    }
    evaluations = other.evaluations;
  }
  return undefined;
}

const capitalize = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

/** The rule that certainly gives the packet another source. */
function findTranslatingRule({ verdicts, evaluations }: Trace): Evaluation | undefined {
  const egress = verdicts.filter((verdict) => verdict.kind === 'egress');
  if (egress.some(({ translation }) => !translation)) return undefined;
  return evaluations.find(({ rule }) => egress.some(({ translation }) => translation?.by === rule));
}

function findWrongBackend({ baseChains }: Snapshot, nodeBackend: Backend): RootCause | undefined {
  const peermasq = baseChains.filter((baseChain) => isPeermasqChain(baseChain));
  const elsewhere = peermasq.find(({ table }) => table.backend !== nodeBackend);
  if (!elsewhere || peermasq.some(({ table }) => table.backend === nodeBackend)) return undefined;
  const reason = `No rule masquerades it, and peermasq's rules are in ${elsewhere.table.backend}, while the node's own are in ${nodeBackend}.`;
  return { cause: 'wrong-backend', reason, backend: nodeBackend };
}

const isPeermasqChain = ({ table, isNat }: BaseChain) =>
  isNat && (table.chains.has('PEERMASQ') || table.name.endsWith(' peermasq'));

function describeNoRule({ evaluations }: Trace): string {
  const closest = nearMisses(evaluations)
    .map((evaluation) => ({ evaluation, matches: failedMatches(evaluation) }))
    .sort((a, b) => distance(a.matches) - distance(b.matches))[0];
  if (!closest) return 'No rule of the node masquerades anything on its way.';
  const excluded = closest.matches.map(({ text }) => text).join(' and ');
  return `No rule masquerades it. The nearest, ${formatRuleName(closest.evaluation)}, asks for ${excluded}: ${closest.evaluation.rule.text}`;
}

/** Few reasons are near, and a destination that is left out is the nearest. */
const distance = (matches: ReturnType<typeof failedMatches>) =>
  2 * matches.length - (matches.some(({ kind, text }) => kind === 'address' && text.includes('-d')) ? 1 : 0);
