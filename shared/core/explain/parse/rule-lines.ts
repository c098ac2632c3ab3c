import { DumpError } from '../model';
import { isCut, type Line } from './input';
import { countProblems, endsInCut, maxProblems } from './iptables-rule';

/** The lines of a table, or of rules without their table, one rule or chain a line. */
export interface RuleLines {
  readonly lines: readonly Line[];
  /** Whether lines are missing: someone cut them, or grep left them out. */
  readonly isCut: boolean;
  /** Lines that are neither rules nor parts of one. */
  readonly prose: readonly Line[];
  /** The numbers of the lines that were joined with the lines that follow them. */
  readonly joined: readonly number[];
}

interface RuleLinesOptions {
  /** Whether the lines are between `*table` and `COMMIT`, where only rules and chains can be. */
  readonly isTable: boolean;
}

/** A rule, a chain or a policy. Other lines continue the line before. */
const entryStart = /^(?:\[\d+:\d+\] *)?-[APNI] |^[:#]/;

/** More lines than this are not one rule that was broken. */
const maxPieces = 8;

/** Joins the lines that a terminal, a chat or a mail program broke, and leaves out the marks where someone cut. */
export function readRuleLines(lines: readonly Line[], { isTable }: RuleLinesOptions): RuleLines {
  const result = { lines: [] as Line[], prose: [] as Line[], joined: [] as number[] };
  const trimmed = lines.map(({ text, number }) => ({ text: text.trim(), number }));
  const chains = new Set(trimmed.flatMap(({ text }) => chainName.exec(text)?.[1] ?? []));
  const kept = trimmed.filter(({ text }) => !isCut(text));
  let index = 0;
  while (index < kept.length) {
    const [first, ...rest] = piecesAt(kept, index);
    if (!first) break;
    index += rest.length + 1;
    const joined = rest.length > 0 ? joinPieces([first, ...rest], chains) : first;
    if (joined) {
      result.lines.push(joined);
      if (rest.length > 0) result.joined.push(first.number);
    } else if (isTable || countProblems(first.text, chains) > maxProblems) {
      rejectBreak(first, rest);
    } else {
      result.lines.push(first);
      result.prose.push(...rest);
    }
  }
  return { ...result, isCut: kept.length < lines.length || kept.some(({ text }) => endsInCut(text)) };
}

const chainName = /^(?:\[\d+:\d+\] *)?(?:-[APN] |:)(\S+)/;

function piecesAt(lines: readonly Line[], start: number): Line[] {
  let end = start + 1;
  while (end < lines.length && !entryStart.test(lines[end]?.text ?? '')) end++;
  return lines.slice(start, end);
}

/**
 * Joins the pieces of one rule. A terminal breaks inside words and a mail program between them, so this tests every
 * combination, and returns the one that makes most sense as a rule.
 */
function joinPieces([first, ...rest]: readonly [Line, ...Line[]], chains: ReadonlySet<string>) {
  if (rest.length >= maxPieces) return undefined;
  // A rule that was whole before must not become an odd one, because then the lines below it are prose.
  const limit = Math.min(maxProblems, countProblems(first.text, chains));
  let candidates = [first.text];
  for (const { text } of rest)
    candidates = candidates.flatMap((start) => [`${start}${text}`, `${start} ${text}`]);
  const [best] = candidates
    .map((text) => ({ text, problems: countProblems(text, chains) }))
    .filter(({ problems }) => problems <= limit)
    .sort((a, b) => a.problems - b.problems);
  return best && { text: best.text, number: first.number };
}

function rejectBreak(first: Line, [next]: readonly Line[]): never {
  if (!next) throw new DumpError({ ...describe(first), expected: 'a rule or a chain' });
  throw new DumpError({
    ...describe(next),
    expected: `a rule, a chain or the rest of the rule in line ${first.number}`,
  });
}

const describe = ({ text, number }: Line) => ({ found: text, line: number });
