import type { Step } from '../explanation';
import { calledChain, type Rule, type RuleMatch, type Table, type Ternary } from '../model';
import type { Evaluation } from '../simulate/trace';
import { evaluateMatch } from '../simulate/match';
import { describeInput } from './describe-match';
import { backendOfTable, isManagedByIptables } from './program';

/** Limits the length of the trace, because a node may have tens of thousands of rules. */
const maxSteps = 200;
const maxNearMisses = 40;

/**
 * Selects the steps to print: rules that matched or may have matched, and rules that would have masqueraded the packet.
 */
export function summarizeTrace(evaluations: readonly Evaluation[]): { path: Step[]; omitted: number } {
  const candidates = nearMisses(evaluations);
  const shown = new Set(candidates.slice(0, maxNearMisses));
  const relevant = evaluations.filter((evaluation) => evaluation.matched !== false || shown.has(evaluation));
  const path = relevant.slice(0, maxSteps).map(stepOf);
  return { path, omitted: relevant.length + candidates.length - shown.size - path.length };
}

/** Returns the rules that would have changed the packet's source if they had matched. */
export function nearMisses(evaluations: readonly Evaluation[]): Evaluation[] {
  const masquerading = new Map<Table, (rule: Rule) => boolean>();
  return evaluations.filter(({ baseChain: { table, isNat, hook }, rule, matched }) => {
    if (matched !== false || !isNat || hook !== 'postrouting') return false;
    const canMasquerade = masquerading.get(table) ?? masqueradeFinder(table);
    masquerading.set(table, canMasquerade);
    return canMasquerade(rule);
  });
}

/**
 * @returns a function that tests whether a rule of the table changes the source, either directly or through a chain
 * that it jumps to
 */
function masqueradeFinder(table: Table): (rule: Rule) => boolean {
  const chains = new Map<string, boolean>();
  const canMasquerade = ({ targets }: Rule): boolean =>
    targets.some((target) => {
      if (target.kind === 'masquerade' || target.kind === 'snat') return true;
      const chain = calledChain(target, table);
      if (!chain) return false;
      const known = chains.get(chain.name);
      if (known !== undefined) return known;
      const result = chain.rules.some(canMasquerade);
      chains.set(chain.name, result);
      return result;
    });
  return canMasquerade;
}

function stepOf(evaluation: Evaluation): Step {
  const { baseChain, chain, rule, matched } = evaluation;
  return {
    backend: baseChain.table.backend,
    table: baseChain.table.name,
    chain: chain.name,
    rule: rule.number,
    text: rule.text,
    result: resultOf(matched),
    reason: reasonOf(evaluation),
  };
}

function resultOf(matched: Ternary): Step['result'] {
  if (matched === 'unknown') return 'unknown';
  return matched ? 'matched' : 'not-matched';
}

function reasonOf(evaluation: Evaluation): string {
  const { rule, matched } = evaluation;
  const describe = (matches: readonly RuleMatch[]) =>
    matches.map((match) => `${match.text} (${describeInput(match, evaluation)})`).join(', ');
  if (matched === false) return `does not match ${describe(failedMatches(evaluation))}`;
  if (matched === true)
    return rule.matches.length === 0 ? 'matches every packet' : `matches ${describe(rule.matches)}`;
  const undecided = undecidedMatches(evaluation);
  return undecided.length === 0
    ? 'matches in some of the possible cases'
    : `undecided: ${describe(undecided)}`;
}

export const failedMatches = (evaluation: Evaluation) => matchesThatAre(false, evaluation);
export const undecidedMatches = (evaluation: Evaluation) => matchesThatAre('unknown', evaluation);

const matchesThatAre = (result: Ternary, { rule, state, context }: Evaluation) =>
  rule.matches.filter((match) => evaluateMatch(match, state, context) === result);

/** `POSTROUTING rule 3 (iptables-nft, table nat)` */
export function formatRuleName({
  baseChain,
  chain,
  rule,
}: Pick<Evaluation, 'baseChain' | 'chain' | 'rule'>): string {
  if (rule.number > 0) return formatRuleLocation({ baseChain, chain, rule });
  // In another chain, the rule stands for rules that the dump does not show.
  const position = chain === baseChain.chain ? `${chain.name} policy` : chain.name;
  return `${position} (${formatTable(baseChain.table)})`;
}

/** Like `formatRuleName`; without a rule, `FORWARD (iptables-nft, table filter)`. */
export function formatRuleLocation({
  baseChain: { table },
  chain,
  rule,
}: Pick<Evaluation, 'baseChain' | 'chain'> & { readonly rule: Rule | undefined }): string {
  const position = rule ? `${chain.name} rule ${rule.number}` : chain.name;
  return `${position} (${formatTable(table)})`;
}

/** A table of iptables-nft is named in the same way whichever program printed it. */
function formatTable(table: Table): string {
  const name = isManagedByIptables(table) ? table.nft?.name : undefined;
  return `${backendOfTable(table)}, table ${name ?? table.name}`;
}
