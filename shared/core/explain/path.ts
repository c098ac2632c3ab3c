import { isMatch, whatIs } from './match';
import type { Rule, Table } from './model';
import type { Step } from './packet';
import { failing, type Sight } from './walk';

/** A node may have tens of thousands of rules; nobody reads as many steps. */
const maxSteps = 200;
const maxMissed = 40;

/** Whether a packet in this rule may get another source: there, or in a chain that it calls. */
export function isMasquerading(rule: Rule, table: Table, seen = new Set<string>()): boolean {
  return rule.targets.some((target) => {
    if (target.kind === 'masquerade' || target.kind === 'snat') return true;
    if (target.kind !== 'jump' && target.kind !== 'goto') return false;
    if (seen.has(target.chain)) return false;
    seen.add(target.chain);
    return table.chains.get(target.chain)?.rules.some((inner) => isMasquerading(inner, table, seen)) ?? false;
  });
}

/** The rules that would have given the packet another source, had they matched. */
export function missed(sights: readonly Sight[]): Sight[] {
  const known = new Map<string, boolean>();
  return sights.filter(({ base, rule, answer }) => {
    if (answer !== false || !base.isNat || base.hook !== 'postrouting') return false;
    // Of the many rules that call the same chain, one look is enough.
    const [target] = rule.targets;
    const called = target?.kind === 'jump' || target?.kind === 'goto' ? target.chain : undefined;
    if (called === undefined) return isMasquerading(rule, base.table);
    const key = `${base.table.backend} ${base.table.name} ${called}`;
    const result = known.get(key) ?? isMasquerading(rule, base.table);
    known.set(key, result);
    return result;
  });
}

/** What matters of the packet's way: rules that matched or may have, and those that it just missed. */
export function pathOf(sights: readonly Sight[]): { path: Step[]; omitted: number } {
  const near = missed(sights);
  const shown = new Set(near.slice(0, maxMissed));
  const wanted = sights.filter((sight) => sight.answer !== false || shown.has(sight));
  const path = wanted.slice(0, maxSteps).map(stepOf);
  return { path, omitted: wanted.length + near.length - shown.size - path.length };
}

function stepOf(sight: Sight): Step {
  const { base, chain, rule, answer } = sight;
  return {
    backend: base.table.backend,
    table: base.table.name,
    chain: chain.name,
    rule: rule.number,
    text: rule.text,
    result: answer === 'unknown' ? 'unknown' : answer ? 'matched' : 'not-matched',
    why: why(sight),
  };
}

function why(sight: Sight): string {
  const { rule, answer, state, view } = sight;
  const told = (match: Rule['matches'][number]) => `${match.text} (${whatIs(match, state, view)})`;
  if (answer === false) return `does not hold: ${failing(sight).map(told).join(', ')}`;
  if (answer === true)
    return rule.matches.length === 0 ? 'every packet matches' : `holds: ${rule.matches.map(told).join(', ')}`;
  const open = rule.matches.filter((match) => isMatch(match, state, view) === 'unknown');
  return open.length === 0
    ? 'matches in some of the ways that are open'
    : `not known: ${open.map(told).join(', ')}`;
}

/** `rule 3 of chain POSTROUTING (iptables-nft, table nat)`; peermasq's own table says so by its name. */
export function nameOf({ base, chain, rule }: Sight): string {
  return `rule ${rule.number} of chain ${chain.name} (${base.table.backend}, table ${base.table.name})`;
}
