import { unknownMatch, type Family, type RuleMatch } from '../../model';
import type { NonEmpty } from '../../../util/collections';
import { memoizeByObject } from '../../../util/functional';
import type { Line } from '../input';
import { hasAddresses, parseColumns, parseRow, type Columns, type Row } from './columns';
import { option, readForms } from './forms';
import { matchForms } from './matches';
import { readTarget } from './targets';

export interface ListedRule {
  readonly line: number;
  /** The number that `--line-numbers` prints. */
  readonly number: number | undefined;
  /** The rule as the listing shows it, without its number and counters. */
  readonly text: string;
  /** What iptables-save prints after `-A CHAIN` for the parts that the listing shows. */
  readonly tokens: readonly string[];
  /** The parts that the listing does not show, or that cannot be read. */
  readonly unknown: readonly RuleMatch[];
  /** How many packets have matched, as the listing shows it: `3303K`. Undefined without `-v`. */
  readonly packets: string | undefined;
}

export interface ListedChain {
  readonly name: string;
  readonly line: number;
  /** Undefined for a chain that is not built in. */
  readonly policy: 'accept' | 'drop' | undefined;
  readonly rules: readonly ListedRule[];
}

export interface Listing {
  /** The chains of each table. */
  readonly tables: readonly NonEmpty<ListedChain>[];
  /** Undefined if neither the program nor an address shows the family. */
  readonly family: Family | undefined;
}

/**
 * Parses the output of `iptables -L` in any of its forms: `-n`, `-v`, `--line-numbers`, one chain or all. A chain that
 * appears again belongs to the next table.
 * @param namedFamily the family of the program that printed them, if it is known
 */
export function parseListing(lines: readonly Line[], namedFamily?: Family): Listing {
  const chains: OpenChain[] = [];
  for (const line of lines) {
    const [, name, policy] = chainHead.exec(line.text.trim()) ?? [];
    if (name !== undefined) chains.push(new OpenChain(name, toPolicy(policy), line.number));
    else chains.at(-1)?.add(line);
  }
  const rows = chains.flatMap((chain) => chain.rows);
  const family = namedFamily ?? familyOf(rows.map(({ row }) => row));
  return { tables: splitTables(chains.map((chain) => chain.finish(family))), family };
}

const chainHead = /^Chain (\S+) \((?:policy (ACCEPT|DROP)|\d+ references?|ERROR)\b/;

function toPolicy(text: string | undefined): ListedChain['policy'] {
  if (text === undefined) return undefined;
  return text === 'DROP' ? 'drop' : 'accept';
}

function splitTables(chains: readonly ListedChain[]): NonEmpty<ListedChain>[] {
  const tables: [ListedChain, ...ListedChain[]][] = [];
  for (const chain of chains) {
    const table = tables.at(-1);
    if (table?.every(({ name }) => name !== chain.name)) table.push(chain);
    else tables.push([chain]);
  }
  return tables;
}

/** The chains as iptables-save prints them, as far as the listing shows it. */
export const savedLines = (chains: readonly ListedChain[]): Line[] =>
  chains.flatMap(({ name, rules, line: number }) => [
    { text: `-P ${name} -`, number },
    ...rules.map(({ tokens, line }) => ({ text: `-A ${name} ${tokens.join(' ')}`, number: line })),
  ]);

const isAddressOf = { 4: /^!?\d+\.\d+\.\d+\.\d+/, 6: /^!?[\da-f]*:/ } as const;

function familyOf(rows: readonly (Row | undefined)[]): Family | undefined {
  const addresses = rows.flatMap((row) => (row ? [row.source, row.destination] : []));
  return ([4, 6] as const).find((family) => addresses.some((address) => isAddressOf[family].test(address)));
}

/** A line of a chain. Without a row it is a line that cannot be read. */
interface ListedLine {
  readonly line: Line;
  readonly row: Row | undefined;
}

/** The columns that a listing without a header may have. */
const possibleColumns: readonly Columns[] = [false, true].flatMap((hasNumbers) =>
  [false, true].map((hasCounters) => ({ hasNumbers, hasCounters })),
);

class OpenChain {
  readonly rows: ListedLine[] = [];
  private columns = possibleColumns;

  constructor(
    private readonly name: string,
    private readonly policy: ListedChain['policy'],
    private readonly line: number,
  ) {}

  add(line: Line): void {
    if (line.text.trim() === '') return;
    const columns = parseColumns(line.text);
    if (columns) this.columns = [columns];
    else this.addRow(line);
  }

  finish(family: Family | undefined): ListedChain {
    const { name, policy, line } = this;
    const rules = this.rows.map((listed, index) => this.toRule(listed, this.rows[index + 1], family));
    return { name, policy, line, rules: withGaps(rules) };
  }

  private addRow(line: Line): void {
    const row = parseRow(line.text, this.columns);
    const previous = this.rows.at(-1);
    const joined = row || !previous ? undefined : this.join(previous.line, line);
    if (joined) this.rows.splice(-1, 1, joined);
    else this.rows.push({ line, row });
  }

  /** Joins two lines into which a terminal or a mail program broke a rule, if there is only one way to read it. */
  private join(first: Line, second: Line): ListedLine | undefined {
    const [joined, other] = [' ', '']
      .map((separator) => ({
        text: `${first.text.trimEnd()}${separator}${second.text.trimStart()}`,
        number: first.number,
      }))
      .map((line) => ({ line, row: parseRow(line.text, this.columns) }))
      .filter(({ row }) => row && hasAddresses(row) && readExtras(row).unreadable === '');
    return joined && (!other || isSameRule(joined.row, other.row)) ? joined : undefined;
  }

  private toRule(
    { line, row }: ListedLine,
    next: ListedLine | undefined,
    family: Family | undefined,
  ): ListedRule {
    const text = (row?.text ?? line.text.trim()).replaceAll(/\s+/g, ' ');
    // The next line may be the rest of this rule, another rule, or a sign that lines were left out.
    const isCut = next && !next.row;
    const unknown = [
      ...(row ? unknownParts(row, family) : [unknownMatch(text, 'unreadable line')]),
      ...(isCut ? [unknownMatch(next.line.text.trim(), 'unreadable line')] : []),
    ];
    const tokens = row ? tokensOf(row) : unknownTarget;
    return { line: line.number, number: row?.number, text, tokens, unknown, packets: row?.packets };
  }
}

/** Adds a rule with an unknown effect where the numbers show that rules were left out. */
function withGaps(rules: readonly ListedRule[]): ListedRule[] {
  let expected = 1;
  return rules.flatMap((rule) => {
    const isGap = rule.number !== undefined && rule.number > expected;
    const gap = isGap ? [missingRules(expected, rule)] : [];
    expected = (rule.number ?? expected) + 1;
    return [...gap, rule];
  });
}

function missingRules(number: number, { line }: ListedRule): ListedRule {
  const text = `(rule ${number})`;
  const unknown = [unknownMatch(text, 'not in the dump')];
  return { line, number, text, tokens: unknownTarget, unknown, packets: undefined };
}

/** A target whose effect is unknown. */
const unknownTarget = ['-j', 'UNREADABLE', '--line'];

const isSameRule = (one: Row | undefined, other: Row | undefined): boolean =>
  one !== undefined && other !== undefined && withoutComments(one) === withoutComments(other);
const withoutComments = (row: Row): string =>
  tokensOf({ ...row, extras: row.extras.replace(comment, '') }).join('\n');

const comment = /\/\*.*\*\//;

interface ReadExtras {
  /** The matches, and the target with its options. */
  readonly tokens: readonly string[];
  /** The part between them that cannot be read. */
  readonly unreadable: string;
}

/** Called for the tokens of a row and for its unreadable part. */
const readExtras = memoizeByObject(({ target, extras }: Row): ReadExtras => {
  const verb = extras.startsWith('[goto]') ? '-g' : '-j';
  const text = extras.replace(/^\[goto\] ?/, '');
  // A comment may contain the text of a match, so a second comment could be part of the first.
  const isAmbiguous = text.split('/*').length > 2 || text.split('*/').length > 2;
  const matches = isAmbiguous ? { tokens: [], rest: text } : readForms(matchForms, text);
  const { options, before } = readTarget(target, matches.rest);
  return { tokens: [...matches.tokens, ...targetTokens(verb, target, options)], unreadable: before };
});

function targetTokens(
  verb: string,
  target: string,
  options: readonly string[] | undefined,
): readonly string[] {
  if (target === '') return [];
  // Among the options of CT is `--notrack`, without which it has no effect on the packet.
  if (target === 'CT' && (options ?? []).length === 0) return unknownTarget;
  return [verb, target, ...(options ?? [])];
}

const everywhere: ReadonlySet<string> = new Set(['0.0.0.0/0', '::/0', 'anywhere']);
const anyInterface: ReadonlySet<string> = new Set(['*', 'any']);
const anyProtocol: ReadonlySet<string> = new Set(['all', '0']);

function tokensOf(row: Row): readonly string[] {
  return [
    ...columnTokens('-s', row.source, everywhere),
    ...columnTokens('-d', row.destination, everywhere),
    ...columnTokens('-i', row.interfaces?.in ?? 'any', anyInterface),
    ...columnTokens('-o', row.interfaces?.out ?? 'any', anyInterface),
    ...columnTokens('-p', row.protocol, anyProtocol),
    ...fragmentTokens(row.fragments),
    ...readExtras(row).tokens,
  ];
}

function columnTokens(name: string, text: string, unlimited: ReadonlySet<string>): readonly string[] {
  if (unlimited.has(text)) return [];
  return text.startsWith('!') ? option(name, text.slice(1), '!') : option(name, text);
}

function fragmentTokens(text: string): readonly string[] {
  if (text === '--') return [];
  return text === '!f' ? ['!', '-f'] : ['-f'];
}

function unknownParts(row: Row, family: Family | undefined): RuleMatch[] {
  const { unreadable } = readExtras(row);
  return [
    ...(family === 6 ? unknownNetworks(row) : []),
    ...(row.interfaces ? [] : [unknownMatch('interfaces', 'iptables -L shows them only with -v')]),
    ...(unreadable === '' ? [] : [unknownMatch(unreadable, 'unsupported match')]),
  ];
}

/** Without `-n`, ip6tables prints `anywhere` for every network that starts at `::`, such as `::/1`. */
const unknownNetworks = ({ source, destination }: Row): RuleMatch[] =>
  (
    [
      ['-s', source],
      ['-d', destination],
    ] as const
  )
    .filter(([, network]) => network === 'anywhere')
    .map(([name]) => unknownMatch(`${name} anywhere`, 'ip6tables -L shows the prefix length only with -n'));
