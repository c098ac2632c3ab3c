import type { Backend } from '../model';
import type { MissingPart } from '../snapshot';

/** Names the parts that a dump does not show: `tables raw and mangle of iptables-nft`, `iptables-legacy`. */
export function describeMissing(parts: readonly MissingPart[]): string[] {
  const tables = parts.filter((part) => part.kind === 'tables').map(describeTables);
  const others = parts.filter(({ kind }) => kind !== 'tables').map(({ kind }) => kind.replace('-', ' '));
  return others.length === 0 ? tables : [...tables, `the node's ${joinWords(others)}`];
}

const backendNames: Readonly<Record<Backend, string>> = {
  'iptables-nft': 'iptables-nft',
  'iptables-legacy': 'iptables-legacy',
  iptables: 'the other backend of iptables',
  nft: "nft's own tables",
};

function describeTables({ backend, names, fragments }: Extract<MissingPart, { kind: 'tables' }>): string {
  if (names === undefined) return backendNames[backend];
  const absent = names.filter((name) => !fragments.includes(name));
  const parts = [
    ...(fragments.length > 0 ? [`the rest of ${formatTables(fragments)}`] : []),
    ...(absent.length > 0 ? [formatTables(absent)] : []),
  ];
  return `${joinWords(parts)} of ${backend}`;
}

const formatTables = (names: readonly string[]) =>
  `${names.length === 1 ? 'table' : 'tables'} ${joinWords(names)}`;

/** `a, b and c` */
export function joinWords(words: readonly string[]): string {
  const last = words.at(-1) ?? '';
  return words.length < 2 ? last : `${words.slice(0, -1).join(', ')} and ${last}`;
}
