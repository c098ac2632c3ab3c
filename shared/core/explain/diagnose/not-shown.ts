import type { Backend } from '../model';
import type { MissingPart } from '../snapshot';

/** Names the parts that a dump does not show: `tables raw and mangle of iptables-nft`, `iptables-legacy`. */
export const describeMissing = (parts: readonly MissingPart[]): string[] => parts.map(describePart);

function describePart(part: MissingPart): string {
  switch (part.kind) {
    case 'addresses':
      return "the node's addresses";
    case 'routes':
      return "the node's routes";
    case 'routing-rules':
      return "the node's `ip rule` list";
    case 'tables':
      return describeTables(part);
  }
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
