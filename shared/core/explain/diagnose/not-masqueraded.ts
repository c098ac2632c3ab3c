import type { Evaluation, Trace } from '../simulate/trace';
import { egressOf, rulesExcept, walk } from '../simulate/walk';
import { findClosestRule } from './closest-rule';
import { backendOf, isPeermasqRule, peermasqBackends } from './node-backend';
import { describeMismatch } from './describe-match';
import type { RootCause, TracedPacket } from './root-cause';
import { formatRuleName } from './trace';

/** Explains why no rule changes the source of a packet that leaves the node. */
export function notMasqueradedCause(traced: TracedPacket): RootCause {
  if (traced.packet.isFromNode) {
    const reason = 'The node itself sends the packet, and no rule changes the source address.';
    return { cause: 'from-node', reason, rules: [] };
  }
  return (
    findNotrack(traced) ??
    findExemption(traced) ??
    findShadowing(traced) ??
    findWrongBackend(traced) ??
    describeNoRule(traced)
  );
}

/** Untracked packets never reach chains of type nat, so adding a rule to one of those chains would not help. */
function findNotrack({ snapshot, packet, trace }: TracedPacket): RootCause | undefined {
  const notrack = trace.evaluations.filter(
    ({ rule, matched }) => matched !== false && rule.targets.some(({ kind }) => kind === 'notrack'),
  );
  const by = notrack.find(({ matched }) => matched === true);
  if (!by || egressOf(trace).some(({ isTracked }) => isTracked)) return undefined;
  const withoutNotrack = walk(snapshot, packet, rulesExcept(new Set(notrack.map(({ rule }) => rule))));
  const masquerading = findTranslatingRule(withoutNotrack);
  const reason = `Untracked: ${formatRuleName(by)} excludes the packet from conntrack, and untracked packets are never masqueraded: ${by.rule.text}.`;
  return {
    cause: 'untracked',
    reason: masquerading ? `${reason} ${wouldMasquerade(masquerading)}` : reason,
    rules: [by],
  };
}

const wouldMasquerade = (evaluation: Evaluation): string =>
  `Without it, ${formatRuleName(evaluation)} would masquerade: ${evaluation.rule.text}`;

function findExemption({ trace }: TracedPacket): RootCause | undefined {
  const exemption = trace.evaluations.find(
    (evaluation) => isPeermasqRule(evaluation) && evaluation.matched === true && isTerminal(evaluation),
  );
  if (!exemption) return undefined;
  const reason = `Exempt in peermasq's own rule set: ${formatRuleName(exemption)} returns before any masquerade rule: ${exemption.rule.text}`;
  return { cause: 'exempt', reason, rules: [exemption] };
}

const isTerminal = ({ rule }: Evaluation) =>
  rule.targets.some(({ kind }) => kind === 'return' || kind === 'accept');

/** Whether the rule matches on mark or state. Such rules are assumed to be intentional. */
const isGate = ({ rule }: Evaluation) => rule.matches.some(({ kind }) => kind === 'mark' || kind === 'state');

/** Whether the rule keeps the packet from the masquerade rules that follow in its chain. */
export const isBlocking = (evaluation: Evaluation): boolean =>
  evaluation.baseChain.isNat &&
  evaluation.baseChain.hook === 'postrouting' &&
  evaluation.matched === true &&
  isTerminal(evaluation);

interface Shadowing {
  /** The rules without which the packet would be masqueraded. */
  readonly blocking: readonly Evaluation[];
  readonly masquerading: Evaluation;
}

/** The maximum number of blocking rules to ignore in the search for a masquerade rule. */
const maxShadowingRules = 8;

/** Ignores blocking rules, one more at a time, until the packet is masqueraded. */
function findBlocking(
  { snapshot, packet, trace }: TracedPacket,
  isCandidate: (evaluation: Evaluation) => boolean,
): Shadowing | undefined {
  const walkWithout = (ignored: readonly Evaluation[]) =>
    walk(snapshot, packet, rulesExcept(new Set(ignored.map(({ rule }) => rule))));
  let blocking: Evaluation[] = [];
  let { evaluations } = trace;
  while (blocking.length < maxShadowingRules) {
    const next = evaluations.find((evaluation) => isBlocking(evaluation) && isCandidate(evaluation));
    if (!next) return undefined;
    blocking.push(next);
    const without = walkWithout(blocking);
    const masquerading = findTranslatingRule(without);
    if (masquerading) {
      // Leaves out the rules that have no part in it.
      for (const each of blocking) {
        const rest = blocking.filter((other) => other !== each);
        if (findTranslatingRule(walkWithout(rest))) blocking = rest;
      }
      return { blocking, masquerading };
    }
    ({ evaluations } = without);
  }
  return undefined;
}

function findShadowing(traced: TracedPacket): RootCause | undefined {
  const shadowing = findBlocking(traced, (evaluation) => !isGate(evaluation));
  const [first] = shadowing?.blocking ?? [];
  if (!shadowing || !first) return undefined;
  const reason = `Shadowed by ${formatRuleName(first)}: ${first.rule.text}. ${wouldMasquerade(shadowing.masquerading)}`;
  return { cause: 'shadowed', reason, rules: [first, shadowing.masquerading] };
}

/**
 * Returns the first rule that changes the packet's source. Undefined if the packet may leave with its source unchanged.
 */
function findTranslatingRule(trace: Trace): Evaluation | undefined {
  const egress = egressOf(trace);
  if (egress.some(({ translation }) => !translation)) return undefined;
  return trace.evaluations.find(({ rule }) => egress.some(({ translation }) => translation?.by === rule));
}

function findWrongBackend({ snapshot }: TracedPacket): RootCause | undefined {
  const nodeBackend = backendOf(snapshot);
  const backends = peermasqBackends(snapshot);
  const [other] = backends;
  if (other === undefined || backends.has(nodeBackend)) return undefined;
  const reason = `No rule masquerades the packet. peermasq's rules are in ${other}, but the node's own are in ${nodeBackend}.`;
  return { cause: 'wrong-backend', reason, rules: [] };
}

function describeNoRule(traced: TracedPacket): RootCause {
  const closest = findClosestRule(traced.trace.evaluations);
  if (!closest) return describeGate(traced);
  const { evaluation, failed } = closest;
  const why = failed.map((match) => describeMismatch(match, evaluation)).join(' and ');
  const reason = `No rule masquerades the packet. Closest match: ${formatRuleName(evaluation)}, skipped because ${why}: ${evaluation.rule.text}`;
  return { cause: 'no-rule', reason, rules: [evaluation] };
}

/** Explains that the only masquerade rules are for packets with a mark, which this packet does not have. */
function describeGate(traced: TracedPacket): RootCause {
  const shadowing = findBlocking(traced, () => true);
  const gate = shadowing?.blocking.find(isGate);
  if (!shadowing || !gate) {
    const reason = 'No rule masquerades the packet: there are no masquerade rules on its path.';
    return { cause: 'no-rule', reason, rules: [] };
  }
  const reason = `No rule masquerades the packet. ${formatRuleName(shadowing.masquerading)} masquerades only packets that pass ${formatRuleName(gate)}: ${gate.rule.text}`;
  return { cause: 'no-rule', reason, rules: [gate, shadowing.masquerading] };
}
