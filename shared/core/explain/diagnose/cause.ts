import type { DroppedVerdict, EgressVerdict } from '../simulate/trace';
import { egressOf } from '../simulate/walk';
import { isPeermasqRule, nodeBackendOf } from './node-backend';
import { notMasqueradedCause } from './not-masqueraded';
import { backendOfTable } from './program';
import type { RootCause, TracedPacket } from './root-cause';
import { formatRuleLocation, formatRuleName } from './trace';
import { describeUndecided, findDecidingRules } from './undecided';

export function findRootCause(traced: TracedPacket): RootCause {
  const egress = egressOf(traced.trace);
  const dropped = traced.trace.verdicts.find((verdict) => verdict.kind === 'dropped');
  if (egress.length === 0) {
    const isReceived = traced.trace.verdicts.some(({ kind }) => kind === 'local');
    if (dropped && isReceived) {
      const reason = `The packet does not leave the node: the node receives it, or it is dropped ${describeDrop(dropped)}.`;
      return { cause: 'unknown', reason, rules: [] };
    }
    return dropped
      ? { cause: 'dropped', reason: `Dropped on the node ${describeDrop(dropped)}.`, rules: [] }
      : { cause: 'stays-on-node', reason: 'The destination is the node itself.', rules: [] };
  }
  const rootCause = egressCause(traced, egress);
  if (!dropped) return rootCause;
  return { ...rootCause, reason: `${rootCause.reason} It may also be dropped ${describeDrop(dropped)}.` };
}

/** `by the policy of FORWARD (iptables-nft, table filter)`; `by FORWARD rule 3 (…): -A FORWARD … -j DROP` */
function describeDrop({ by, at }: DroppedVerdict): string {
  if (!at) return `by a ${by}`;
  const { rule } = at;
  return rule
    ? `by ${formatRuleName({ ...at, rule })}: ${rule.text}`
    : `by the policy of ${formatRuleLocation(at)}`;
}

function egressCause(traced: TracedPacket, egress: readonly EgressVerdict[]): RootCause {
  const translated = egress.filter(({ translation }) => translation !== undefined);
  if (translated.length === 0) return notMasqueradedCause(traced);
  return translated.length < egress.length ? unknownCause(traced) : masqueradedCause(traced, translated);
}

function masqueradedCause({ snapshot, trace }: TracedPacket, egress: readonly EgressVerdict[]): RootCause {
  const translating = new Set(egress.map(({ translation }) => translation?.by));
  const rules = trace.evaluations.filter(({ rule }) => translating.has(rule));
  const reason = `Masqueraded by ${rules.map(formatRuleName).join(' or ')}.`;
  const nodeBackend = nodeBackendOf(snapshot);
  const isOnlyOtherBackend =
    nodeBackend !== undefined &&
    rules.every(
      (evaluation) =>
        isPeermasqRule(evaluation) && backendOfTable(evaluation.baseChain.table) !== nodeBackend,
    );
  if (!isOnlyOtherBackend) return { cause: 'masqueraded', reason, rules };
  const warning = `No other rule masquerades the packet, and the node's own rules are in ${nodeBackend}: kernels before 4.18 apply only one of the two backends, and programs that watch ${nodeBackend} do not see this rule.`;
  return { cause: 'wrong-backend', reason: `${reason} ${warning}`, rules };
}

function unknownCause(traced: TracedPacket): RootCause {
  const undecided = traced.trace.evaluations.filter(({ matched }) => matched === 'unknown');
  const unreadable = undecided.find(({ baseChain }) => baseChain.unreadable !== undefined);
  if (unreadable?.baseChain.unreadable !== undefined)
    return { cause: 'unknown', reason: `Depends on ${unreadable.baseChain.unreadable}.`, rules: [] };
  const rules = findDecidingRules(traced);
  return { cause: 'unknown', reason: describeUndecided(rules), rules };
}
