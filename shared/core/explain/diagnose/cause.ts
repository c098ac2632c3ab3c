import type { Cause } from '../explanation';
import type { Backend, BaseChain, Rule, RuleMatch, Table } from '../model';
import type { EgressVerdict, Evaluation, Trace } from '../simulate/trace';
import type { Packet } from '../simulate/packet';
import { egressOf, rulesExcept, walk } from '../simulate/walk';
import type { Snapshot } from '../snapshot';
import { masqueradeCommand, removeRuleCommand } from './fix';
import { describeMismatch, failedMatches, formatRuleName, nearMisses } from './trace';

/** Why the packet leaves with the source address that it has, and how to fix that address. */
export interface RootCause {
  readonly cause: Cause;
  readonly reason: string;
  /** The command that makes the packet leave with the node's address. Null if nothing needs fixing. */
  readonly fix: string | null;
}

interface TracedPacket {
  readonly snapshot: Snapshot;
  readonly packet: Packet;
  readonly trace: Trace;
}

export function findRootCause(traced: TracedPacket): RootCause {
  const egress = egressOf(traced.trace);
  const dropped = traced.trace.verdicts.find((verdict) => verdict.kind === 'dropped');
  if (egress.length === 0) {
    return dropped
      ? { cause: 'dropped', reason: `Dropped on the node: ${dropped.by}.`, fix: null }
      : { cause: 'stays-on-node', reason: 'The destination is the node itself.', fix: null };
  }
  const rootCause = egressCause(traced, egress);
  if (!dropped) return rootCause;
  return { ...rootCause, reason: `${rootCause.reason} It may also be dropped: ${dropped.by}.` };
}

function egressCause(traced: TracedPacket, egress: readonly EgressVerdict[]): RootCause {
  const translated = egress.filter(({ translation }) => translation !== undefined);
  if (translated.length === 0) return notMasqueradedCause(traced);
  return translated.length < egress.length ? unknownCause(traced) : masqueradedCause(traced, translated);
}

/**
 * Whether the table belongs to peermasq. In iptables, peermasq's rule set is a chain; in nft, it is a separate table.
 */
const isPeermasqTable = ({ nft }: Table) => nft?.name === 'peermasq';
const isPeermasqRule = ({ baseChain, chain }: Evaluation) =>
  chain.name === 'PEERMASQ' || isPeermasqTable(baseChain.table);

/** The kubelet creates these chains in table mangle, so that other programs can detect which backend it uses. */
const kubeletHintChains = ['KUBE-IPTABLES-HINT', 'KUBE-KUBELET-CANARY'];

/** Returns the kubelet's backend or, if that is unknown, the backend with the most rules in table nat. */
function nodeBackendOf({ baseChains }: Snapshot): Backend | undefined {
  const kubeletChain = baseChains.find(({ table }) =>
    kubeletHintChains.some((hint) => table.chains.has(hint)),
  );
  if (kubeletChain) return kubeletChain.table.backend;
  const counts = new Map<Backend, number>();
  const readable = baseChains.filter(({ isNat, unreadable }) => isNat && unreadable === undefined);
  for (const table of new Set(readable.map((baseChain) => baseChain.table))) {
    const count = countOwnRules(table);
    if (count > 0) counts.set(table.backend, (counts.get(table.backend) ?? 0) + count);
  }
  const [most] = [...counts].sort(([, a], [, b]) => b - a);
  return most?.[0];
}

/** Counts the rules of all programs except peermasq. */
function countOwnRules(table: Table): number {
  if (isPeermasqTable(table)) return 0;
  const rules = [...table.chains.values()].flatMap((chain) => chain.rules);
  return rules.filter(({ text }) => !text.includes('PEERMASQ')).length;
}

/**
 * Returns the node's backend. If no rule in the dump identifies the backend, returns a backend whose output the dump
 * contains.
 */
function backendOf(snapshot: Snapshot): Backend {
  const { backends } = snapshot;
  const printed = (['iptables-nft', 'iptables-legacy', 'iptables', 'nft'] as const).find((one) =>
    backends.has(one),
  );
  return nodeBackendOf(snapshot) ?? printed ?? 'iptables-nft';
}

const masqueradeFix = ({ snapshot, packet }: TracedPacket, backend = backendOf(snapshot)): string =>
  masqueradeCommand(snapshot, packet, backend);

function masqueradedCause(traced: TracedPacket, egress: readonly EgressVerdict[]): RootCause {
  const rules = new Set(egress.map(({ translation }) => translation?.by));
  const by = traced.trace.evaluations.filter(({ rule }) => rules.has(rule));
  const reason = `Masqueraded by ${by.map(formatRuleName).join(' or ')}.`;
  const nodeBackend = nodeBackendOf(traced.snapshot);
  const isOnlyOtherBackend =
    nodeBackend !== undefined &&
    by.every(
      (evaluation) => isPeermasqRule(evaluation) && evaluation.baseChain.table.backend !== nodeBackend,
    );
  if (!isOnlyOtherBackend) return { cause: 'masqueraded', reason, fix: null };
  const warning = `No other rule masquerades the packet, and the node's own rules are in ${nodeBackend}: kernels before 4.18 apply only one of the two backends, and programs that watch ${nodeBackend} do not see this rule.`;
  return { cause: 'wrong-backend', reason: `${reason} ${warning}`, fix: masqueradeFix(traced, nodeBackend) };
}

function unknownCause(traced: TracedPacket): RootCause {
  const undecided = traced.trace.evaluations.filter(({ matched }) => matched === 'unknown');
  const unreadable = undecided.find(({ baseChain }) => baseChain.unreadable !== undefined);
  if (unreadable?.baseChain.unreadable !== undefined)
    return { cause: 'unknown', reason: `Depends on ${unreadable.baseChain.unreadable}.`, fix: null };
  return { cause: 'unknown', reason: describeUndecided(undecided), fix: masqueradeFix(traced) };
}

function describeUndecided([first, ...others]: readonly Evaluation[]): string {
  if (!first) return 'Depends on the order of chains with the same priority, which a dump does not show.';
  const more = others.length > 0 ? `, and on ${others.length} more` : '';
  return `Depends on ${formatRuleName(first)}, which cannot be decided from a dump${more}.`;
}

function notMasqueradedCause(traced: TracedPacket): RootCause {
  if (traced.packet.isFromNode) {
    const reason = 'The node itself sends the packet, and no rule changes the source address.';
    return { cause: 'no-rule', reason, fix: null };
  }
  return (
    findNotrack(traced) ??
    findExemption(traced) ??
    findShadowing(traced) ??
    findWrongBackend(traced) ?? {
      cause: 'no-rule',
      reason: describeNoRule(traced.trace),
      fix: masqueradeFix(traced),
    }
  );
}

/** Untracked packets never reach chains of type nat, so adding a rule to one of those chains would not help. */
function findNotrack({ snapshot, packet, trace: { evaluations } }: TracedPacket): RootCause | undefined {
  const notrack = evaluations.filter(
    ({ rule, matched }) => matched !== false && rule.targets.some(({ kind }) => kind === 'notrack'),
  );
  const by = notrack.find(({ matched }) => matched === true);
  if (!by || evaluations.some(({ baseChain }) => baseChain.isNat)) return undefined;
  const withoutNotrack = walk(snapshot, packet, rulesExcept(new Set(notrack.map(({ rule }) => rule))));
  const masquerading = findTranslatingRule(withoutNotrack);
  const reason = `Untracked: ${formatRuleName(by)} excludes the packet from conntrack, and untracked packets are never masqueraded: ${by.rule.text}.`;
  return {
    cause: 'untracked',
    reason: masquerading ? `${reason} ${wouldMasquerade(masquerading)}` : reason,
    fix: removeRuleCommand(by, packet.destination.family),
  };
}

const wouldMasquerade = (evaluation: Evaluation): string =>
  `Without it, ${formatRuleName(evaluation)} would masquerade: ${evaluation.rule.text}`;

function findExemption(traced: TracedPacket): RootCause | undefined {
  const exemption = traced.trace.evaluations.find(
    (evaluation) => isPeermasqRule(evaluation) && evaluation.matched === true && isTerminal(evaluation),
  );
  if (!exemption) return undefined;
  const reason = `Exempt in peermasq's own rule set: ${formatRuleName(exemption)} returns before any masquerade rule: ${exemption.rule.text}`;
  return { cause: 'exempt', reason, fix: masqueradeFix(traced) };
}

const isTerminal = ({ rule }: Evaluation) =>
  rule.targets.some(({ kind }) => kind === 'return' || kind === 'accept');

/**
 * Whether the rule matches on mark or state. Such rules are assumed to be intentional, so they are not reported as
 * shadowing other rules.
 */
const isGate = ({ rule }: Evaluation) => rule.matches.some(({ kind }) => kind === 'mark' || kind === 'state');

const isBlocking = (evaluation: Evaluation) =>
  evaluation.baseChain.isNat &&
  evaluation.baseChain.hook === 'postrouting' &&
  evaluation.matched === true &&
  isTerminal(evaluation) &&
  !isGate(evaluation);

/** The maximum number of blocking rules to ignore in the search for a masquerade rule. */
const maxShadowingRules = 8;

/** Ignores blocking rules, one more at a time, until the packet is masqueraded. Reports the first blocking rule. */
function findShadowing(traced: TracedPacket): RootCause | undefined {
  const ignored = new Set<Rule>();
  let { evaluations } = traced.trace;
  let first: Evaluation | undefined;
  for (let removed = 0; removed < maxShadowingRules; removed++) {
    const blocking = evaluations.find(isBlocking);
    if (!blocking) return undefined;
    first ??= blocking;
    ignored.add(blocking.rule);
    const withoutBlocking = walk(traced.snapshot, traced.packet, rulesExcept(ignored));
    const masquerading = findTranslatingRule(withoutBlocking);
    if (masquerading) {
      const reason = `Shadowed by ${formatRuleName(first)}: ${first.rule.text}. ${wouldMasquerade(masquerading)}`;
      return { cause: 'shadowed', reason, fix: masqueradeFix(traced) };
    }
    evaluations = withoutBlocking.evaluations;
  }
  return undefined;
}

/**
 * Returns the first rule that changes the packet's source. Undefined if the packet may leave with its source unchanged.
 */
function findTranslatingRule(trace: Trace): Evaluation | undefined {
  const egress = egressOf(trace);
  if (egress.some(({ translation }) => !translation)) return undefined;
  return trace.evaluations.find(({ rule }) => egress.some(({ translation }) => translation?.by === rule));
}

function findWrongBackend(traced: TracedPacket): RootCause | undefined {
  const nodeBackend = backendOf(traced.snapshot);
  const peermasqBackends = new Set(
    traced.snapshot.baseChains.filter(isPeermasqChain).map(({ table }) => table.backend),
  );
  const [other] = peermasqBackends;
  if (other === undefined || peermasqBackends.has(nodeBackend)) return undefined;
  const reason = `No rule masquerades the packet. peermasq's rules are in ${other}, but the node's own are in ${nodeBackend}.`;
  return { cause: 'wrong-backend', reason, fix: masqueradeFix(traced) };
}

const isPeermasqChain = ({ table, isNat }: BaseChain) =>
  isNat && (table.chains.has('PEERMASQ') || isPeermasqTable(table));

function describeNoRule({ evaluations }: Trace): string {
  const [closest] = nearMisses(evaluations)
    .map((evaluation) => ({ evaluation, failed: failedMatches(evaluation) }))
    .sort((a, b) => distance(a.failed) - distance(b.failed));
  if (!closest) return 'No rule masquerades the packet: there are no masquerade rules on its path.';
  const { evaluation, failed } = closest;
  const why = failed.map((match) => describeMismatch(match, evaluation)).join(' and ');
  return `No rule masquerades the packet. Closest match: ${formatRuleName(evaluation)}, skipped because ${why}: ${evaluation.rule.text}`;
}

/**
 * Ranks near misses. A rule with fewer failed matches is closer, and a failed match on the destination is closer than
 * any other failed match.
 */
function distance(failed: readonly RuleMatch[]): number {
  const isDestination = failed.some((match) => match.kind === 'address' && match.field === 'destination');
  return 2 * failed.length - (isDestination ? 1 : 0);
}
