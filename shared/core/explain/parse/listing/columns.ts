import { parseIpAddress, protocolNumber } from '../../ranges';

/** Which of the optional columns a listing has. */
export interface Columns {
  readonly hasNumbers: boolean;
  readonly hasCounters: boolean;
}

/** Parses `num   pkts bytes target     prot opt in     out     source               destination`. */
export function parseColumns(text: string): Columns | undefined {
  const [, num, counters] =
    /^\s*(num\s+)?(pkts\s+bytes\s+)?target\s+prot(?:\s+opt)?(?:\s+in\s+out)?\s+source\s+destination\s*$/.exec(
      text,
    ) ?? [];
  if (num === undefined && counters === undefined && !/^\s*target\s+prot\b/.test(text)) return undefined;
  return { hasNumbers: num !== undefined, hasCounters: counters !== undefined };
}

/** The columns of one rule. The values may start with `!`. */
export interface Row {
  /** The row without its number and counters. */
  readonly text: string;
  /** The number that `--line-numbers` prints. */
  readonly number: number | undefined;
  readonly packets: string | undefined;
  /** Empty if the rule has no target. */
  readonly target: string;
  readonly protocol: string;
  /** `-f` or `!f` if the rule tests for fragments. */
  readonly fragments: string;
  /** Undefined if the listing does not show interfaces. */
  readonly interfaces: { readonly in: string; readonly out: string } | undefined;
  readonly source: string;
  readonly destination: string;
  /** What follows the columns: matches and the options of the target. */
  readonly extras: string;
}

interface Word {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

const fragmentOptions: ReadonlySet<string> = new Set(['--', '-f', '!f']);
const mostColumns = 12;

/** @returns undefined if the line is not a rule of a listing with these columns, or can be read in more than one way */
export function parseRow(text: string, columns: readonly Columns[]): Row | undefined {
  const words: Word[] = [];
  for (const match of text.matchAll(/\S+/g)) {
    if (words.length === mostColumns) break;
    words.push({ text: match[0], start: match.index, end: match.index + match[0].length });
  }
  const rows = columns
    .flatMap((shown) => [0, 1].map((targets) => readRow(text, words, { ...shown, targets })))
    .filter((row) => row !== undefined);
  return rows.length === 1 ? rows[0] : undefined;
}

/**
 * Reads the row as one with or without a target. ip6tables before 1.8.9 leaves the column `opt` empty, so that only the
 * values tell whether the row has a target.
 */
function readRow(
  text: string,
  words: readonly Word[],
  { hasNumbers, hasCounters, targets }: Columns & { readonly targets: number },
): Row | undefined {
  const texts = words.map((word) => word.text);
  const targetIndex = (hasNumbers ? 1 : 0) + (hasCounters ? 2 : 0);
  const protocolIndex = targetIndex + targets;
  const hasOpt = fragmentOptions.has(texts[protocolIndex + 1] ?? '');
  const interfaceIndex = protocolIndex + (hasOpt ? 2 : 1);
  const sourceIndex = interfaceIndex + (hasCounters ? 2 : 0);
  const last = words[sourceIndex + 1];
  const numbers = texts.slice(0, targetIndex);
  const [source = '', destination = ''] = texts.slice(sourceIndex);
  const protocol = texts[protocolIndex] ?? '';
  const isRow =
    last !== undefined &&
    numbers.every((value) => /^\d+[KMGT]?$/.test(value)) &&
    (hasOpt ? /^!?[\w.-]+$/.test(protocol) : isProtocol(protocol) && hasAddresses({ source, destination }));
  if (!isRow) return undefined;
  const [incoming = '', outgoing = ''] = texts.slice(interfaceIndex);
  return {
    text: text.slice(words[targetIndex]?.start).trim(),
    number: hasNumbers ? Number(texts[0]) : undefined,
    packets: hasCounters ? texts[targetIndex - 2] : undefined,
    target: targets === 0 ? '' : (texts[targetIndex] ?? ''),
    protocol,
    fragments: hasOpt ? (texts[protocolIndex + 1] ?? '') : '--',
    interfaces: hasCounters ? { in: incoming, out: outgoing } : undefined,
    source,
    destination,
    extras: text.slice(last.end).trim(),
  };
}

const withoutNegation = (text: string): string => text.replace(/^!/, '');

function isProtocol(text: string): boolean {
  const name = withoutNegation(text);
  return name === 'all' || protocolNumber(name) !== undefined;
}

/** Whether the addresses are numbers, and not names. */
export const hasAddresses = ({ source, destination }: Pick<Row, 'source' | 'destination'>): boolean =>
  isAddress(source) && isAddress(destination);

function isAddress(text: string): boolean {
  const [address = '', mask = '0'] = withoutNegation(text).split('/');
  if (address === 'anywhere') return true;
  return (
    parseIpAddress(address) !== undefined && (/^\d{1,3}$/.test(mask) || parseIpAddress(mask) !== undefined)
  );
}
