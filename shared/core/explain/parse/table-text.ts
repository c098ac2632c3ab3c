import { groupBy } from '../../util/collections';
import { DumpError, type Backend, type BaseChain, type Family } from '../model';
import type { IptablesProgram, Variant } from './header';
import type { Line } from './input';
import type { TableParser } from './iptables';

/** The lines of a table of iptables, before they are parsed. */
export interface TableText {
  readonly program: IptablesProgram;
  readonly family: Family;
  readonly name: string;
  /** The number of the line with which the table starts. */
  readonly line: number;
  /** The rules as iptables-save prints them. */
  readonly lines: readonly Line[];
  /** Passes the rules to a parser. */
  readonly feed: (parser: TableParser) => void;
  /** Whether lines are missing, or may be missing. */
  readonly isFragment: boolean;
  /** Whether the output that contains the table also contains every other table of the backend. */
  readonly showsAllTables: boolean;
}

/** The name with which texts and commands refer to the backend. */
export function backendOf({ variant, hasOneBackend }: IptablesProgram): Backend {
  return variant === undefined || hasOneBackend ? 'iptables' : `iptables-${variant}`;
}

/**
 * Finds out which backend each table belongs to, and leaves out repetitions. A node has each table at most once in
 * each backend, so two different tables with the same name belong to two backends.
 * @param native the base chains of a complete nft rule set, which also contains the tables of iptables-nft
 * @throws DumpError if a backend has two different tables with the same name
 */
export function assignBackends(
  texts: readonly TableText[],
  native: readonly BaseChain[] | undefined,
): TableText[] {
  const compared = native ? texts.map((text) => compareWithNft(text, native)) : texts;
  const byName = groupBy(compared, ({ family, name }) => `${family} ${name}`);
  return [...byName.values()].flatMap((sameName) => assignPair(mergeRepetitions(sameName)));
}

/** Without a name, a table that nft also prints belongs to iptables-nft, and any other table to iptables-legacy. */
function compareWithNft(text: TableText, native: readonly BaseChain[]): TableText {
  if (text.program.variant !== undefined) return text;
  const family = text.family === 6 ? 'ip6' : 'ip';
  const tables = new Set(
    native.map(({ table }) => table).filter(({ nft }) => nft?.family === family && nft.name === text.name),
  );
  const isSame = [...tables].some(({ chains }) =>
    [...countRules(text)].every(([chain, count]) => chains.get(chain)?.rules.length === count),
  );
  return withVariant(text, isSame ? 'nft' : 'legacy');
}

function countRules({ lines }: TableText): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { text } of lines) {
    const [, chain] = /^(?:\[\d+:\d+\] *)?-A (\S+)/.exec(text.trim()) ?? [];
    if (chain !== undefined) counts.set(chain, (counts.get(chain) ?? 0) + 1);
  }
  return counts;
}

const withVariant = (text: TableText, variant: Variant | undefined): TableText => ({
  ...text,
  program: { ...text.program, variant },
});

/** Returns the different texts of a table. A repetition may name the backend that the first text does not. */
function mergeRepetitions(texts: readonly TableText[]): TableText[] {
  const different: TableText[] = [];
  for (const text of texts) {
    const index = different.findIndex((other) => isRepetition(other, text) || isContinuation(other, text));
    const other = different[index];
    if (other) different[index] = merge(other, text);
    else different.push(text);
  }
  return different;
}

const mayBeSameBackend = (a: TableText, b: TableText) =>
  a.program.variant === b.program.variant ||
  a.program.variant === undefined ||
  b.program.variant === undefined;

const isRepetition = (a: TableText, b: TableText) => mayBeSameBackend(a, b) && rulesOf(a) === rulesOf(b);

/** Whether the texts are two parts of one table that have no chain in common. */
function isContinuation(a: TableText, b: TableText): boolean {
  if (!a.isFragment || !b.isFragment || !mayBeSameBackend(a, b)) return false;
  const chains = countRules(a);
  return [...countRules(b).keys()].every((chain) => !chains.has(chain));
}

function merge(first: TableText, second: TableText): TableText {
  const program = first.program.variant === undefined ? second.program : first.program;
  if (isRepetition(first, second))
    return { ...first, program, isFragment: first.isFragment && second.isFragment };
  const feed = (parser: TableParser) => {
    first.feed(parser);
    second.feed(parser);
  };
  return { ...first, program, lines: [...first.lines, ...second.lines], feed };
}

/** The text without the counters, which differ between two runs of one program. */
const rulesOf = ({ lines }: TableText): string =>
  lines.map(({ text }) => text.trim().replace(/^\[\d+:\d+\] *| \[\d+:\d+\]$/, '')).join('\n');

const otherVariant = { nft: 'legacy', legacy: 'nft' } as const;

function assignPair(texts: readonly TableText[]): TableText[] {
  const [first, second, ...others] = texts;
  if (!first || !second) return [...texts];
  const a = first.program.variant;
  const b = second.program.variant;
  if (others[0] || (a !== undefined && a === b)) rejectThird(others[0] ?? second, first);
  return [withVariant(first, a ?? (b && otherVariant[b])), withVariant(second, b ?? (a && otherVariant[a]))];
}

function rejectThird({ line, name, program }: TableText, first: TableText): never {
  throw new DumpError({
    line,
    found: `table ${name} of ${backendOf(program)} with other rules than in line ${first.line}`,
    expected: 'each table of a node once: remove the one that is not current',
  });
}
