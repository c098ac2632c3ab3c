import { evaluateMatch, describeInput } from '../simulate/match';
import type { Rule, Table } from '../model';
import type { Step } from '../simulate/packet';
import { failedMatches, type Evaluation } from '../simulate/walk';

/** A node may have tens of thousands of rules; nobody reads as many steps. */
const maxSteps = 200;
const maxNearMisses = 40;

/** Whether a packet in this rule may get another source: there, or in a chain that it calls. */
export function canMasquerade(rule: Rule, table: Table, seen = new Set<string>()): boolean {
  return rule.targets.some((target) => {
    if (target.kind === 'masquerade' || target.kind === 'snat') return true;
    if (target.kind !== 'jump' && target.kind !== 'goto') return false;
    if (seen.has(target.chain)) return false;
    seen.add(target.chain);
    return table.chains.get(target.chain)?.rules.some((inner) => canMasquerade(inner, table, seen)) ?? false;
  });
}

/** The rules that would have given the packet another source, had they matched. */
export function nearMisses(evaluations: readonly Evaluation[]): Evaluation[] {
  const known = new Map<string, boolean>();
  return evaluations.filter(({ baseChain, rule, matched }) => {
    if (matched !== false || !baseChain.isNat || baseChain.hook !== 'postrouting') return false;
    // Of the many rules that call the same chain, one look is enough.
    const [target] = rule.targets;
    const called = target?.kind === 'jump' || target?.kind === 'goto' ? target.chain : undefined;
    if (called === undefined) return canMasquerade(rule, baseChain.table);
    const key = `${baseChain.table.backend} ${baseChain.table.name} ${called}`;
    const result = known.get(key) ?? canMasquerade(rule, baseChain.table);
    known.set(key, result);
    return result;
  });
}

/** What matters of the packet's way: rules that matched or may have, and those that it just missed. */
export function summarizeTrace(evaluations: readonly Evaluation[]): { path: Step[]; omitted: number } {
  const missed = nearMisses(evaluations);
  const shown = new Set(missed.slice(0, maxNearMisses));
  const relevant = evaluations.filter((evaluation) => evaluation.matched !== false || shown.has(evaluation));
  const path = relevant.slice(0, maxSteps).map(stepOf);
  return { path, omitted: relevant.length + missed.length - shown.size - path.length };
}

function stepOf(evaluation: Evaluation): Step {
  const { baseChain, chain, rule, matched } = evaluation;
  return {
    backend: baseChain.table.backend,
    table: baseChain.table.name,
    chain: chain.name,
    rule: rule.number,
    text: rule.text,
    result: matched === 'unknown' ? 'unknown' : matched ? 'matched' : 'not-matched',
    reason: reason(evaluation),
  };
}

function reason(evaluation: Evaluation): string {
  const { rule, matched, state, context } = evaluation;
  const describe = (match: Rule['matches'][number]) =>
    `${match.text} (${describeInput(match, state, context)})`;
  if (matched === false) return `does not hold: ${failedMatches(evaluation).map(describe).join(', ')}`;
  if (matched === true)
    return rule.matches.length === 0
      ? 'every packet matches'
      : `holds: ${rule.matches.map(describe).join(', ')}`;
  const undecided = rule.matches.filter((match) => evaluateMatch(match, state, context) === 'unknown');
  return undecided.length === 0
    ? 'matches in some of the ways that are open'
    : `not known: ${undecided.map(describe).join(', ')}`;
}

/** `rule 3 of chain POSTROUTING (iptables-nft, table nat)`; peermasq's own table says so by its name. */
export function formatRuleName({ baseChain, chain, rule }: Evaluation): string {
  return `rule ${rule.number} of chain ${chain.name} (${baseChain.table.backend}, table ${baseChain.table.name})`;
}
