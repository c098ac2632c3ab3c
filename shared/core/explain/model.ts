import { PermanentError } from '../model/errors';

/** `iptables` stands for one of its two backends, if the dump does not show which one. */
export type Backend = 'iptables-nft' | 'iptables-legacy' | 'iptables' | 'nft';
export type Family = 4 | 6;
export type Hook = 'prerouting' | 'forward' | 'output' | 'postrouting';
export type Side = 'source' | 'destination';
/** Whether a match tests the incoming or the outgoing interface. */
export type Direction = 'in' | 'out';

/** The result of a test. For `unknown`, the simulation never guesses; it follows both outcomes. */
export type Ternary = boolean | 'unknown';

export const not = (value: Ternary): Ternary => (value === 'unknown' ? value : !value);

export function allOf(values: Iterable<Ternary>): Ternary {
  let result: Ternary = true;
  for (const value of values) {
    if (value === false) return false;
    if (value === 'unknown') result = value;
  }
  return result;
}

export function anyOf(values: Iterable<Ternary>): Ternary {
  let result: Ternary = false;
  for (const value of values) {
    if (value === true) return true;
    if (value === 'unknown') result = value;
  }
  return result;
}

/** Addresses or numbers from `first` to `last`, both inclusive. */
export interface Range<T extends bigint | number = bigint> {
  readonly first: T;
  readonly last: T;
}

/** The fields with `original-` are the connection's addresses before any translation. */
export type AddressField = Side | 'original-source' | 'original-destination';
export type PortField = AddressField | 'either';
export type MarkField = 'packet' | 'connection';

export type Condition =
  | {
      readonly kind: 'address';
      readonly field: AddressField;
      readonly family: Family;
      readonly ranges: readonly Range[];
    }
  /** The names of the interfaces. A name that ends with `+` matches every interface whose name has that prefix. */
  | { readonly kind: 'interface'; readonly direction: Direction; readonly names: readonly string[] }
  /** Protocols, by IP protocol number. */
  | { readonly kind: 'protocol'; readonly ranges: readonly Range<number>[] }
  | { readonly kind: 'port'; readonly field: PortField; readonly ranges: readonly Range<number>[] }
  /** Matches if `mark & mask` is in one of the ranges. */
  | {
      readonly kind: 'mark';
      readonly field: MarkField;
      readonly mask: number;
      readonly ranges: readonly Range<number>[];
    }
  /**
   * With `limitTo`, only the addresses of the packet's incoming or outgoing interface are considered. `hasSingleType`
   * is true in nft, where each address has only one type. In iptables, an IPv6 address can be both LOCAL and UNICAST.
   */
  | {
      readonly kind: 'addrtype';
      readonly side: Side;
      readonly types: readonly string[];
      readonly limitTo: Direction | undefined;
      readonly hasSingleType: boolean;
    }
  | { readonly kind: 'set'; readonly name: string; readonly sides: readonly Side[] }
  /** Conntrack states such as NEW, ESTABLISHED, DNAT and SNAT. */
  | { readonly kind: 'state'; readonly states: readonly string[] }
  | { readonly kind: 'tcp-flags'; readonly mask: readonly string[]; readonly set: readonly string[] }
  | { readonly kind: 'icmp'; readonly type: number; readonly code: number | undefined }
  | { readonly kind: 'family'; readonly family: Family }
  | { readonly kind: 'constant'; readonly matched: boolean }
  | { readonly kind: 'any'; readonly alternatives: readonly (readonly RuleMatch[])[] }
  | { readonly kind: 'unknown'; readonly reason: string };

export type RuleMatch = Condition & { readonly isNegated: boolean; readonly text: string };

/** Returns a match that peermasq cannot evaluate. */
export const unknownMatch = (text: string, reason: string): RuleMatch => ({
  kind: 'unknown',
  reason,
  isNegated: false,
  text,
});

export type RuleTarget =
  | { readonly kind: 'accept' | 'drop' | 'return' | 'notrack' | 'masquerade' | 'redirect' | 'unknown' }
  /** Overwrites addresses, ports or other parts of the packet without using conntrack. */
  | { readonly kind: 'rewrite' }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string }
  /** Sets the mark to (mark & ~clear) ^ (from & mask). */
  | {
      readonly kind: 'mark';
      readonly field: MarkField;
      readonly clear: number;
      readonly from: number | MarkField;
      readonly mask: number;
    }
  /** Changes the source to one of these addresses. An empty list means that the new source is unknown. */
  | { readonly kind: 'snat'; readonly family: Family; readonly ranges: readonly Range[] }
  /** Changes the destination. Without addresses only the port changes; without ports the port does not change. */
  | {
      readonly kind: 'dnat';
      readonly addresses: readonly Range[] | undefined;
      readonly ports: Range<number> | undefined;
    };

export interface Rule {
  /** The position in the chain, starting at 1. Position 0 is the chain's policy. */
  readonly number: number;
  readonly text: string;
  readonly matches: readonly RuleMatch[];
  /**
   * The targets, in the order in which they apply. If none of them ends the evaluation, the packet continues with the
   * next rule.
   */
  readonly targets: readonly RuleTarget[];
  /** How many packets the rule has matched, as the dump shows it: `12`, `3303K`. Absent without counters. */
  readonly packets?: string;
  /** The handle with which nft can delete the rule. */
  readonly handle?: number;
}

export interface Chain {
  readonly name: string;
  readonly rules: Rule[];
}

export interface Table {
  readonly backend: Backend;
  /** The table's name, such as `nat`. In nft the name includes the family: `ip peermasq`. */
  readonly name: string;
  /** The family and the name of an nft table, as separate values. */
  readonly nft?: { readonly family: string; readonly name: string };
  readonly families: readonly Family[];
  readonly chains: Map<string, Chain>;
  /** Whether the dump shows only a part of the table. */
  readonly isFragment?: boolean;
}

/** Returns the chain that a target jumps to. */
export const calledChain = (target: RuleTarget, { chains }: Table): Chain | undefined =>
  target.kind === 'jump' || target.kind === 'goto' ? chains.get(target.chain) : undefined;

/** `ip6tables-nft`; without a backend `ip6tables`. */
export function iptablesCommand(family: Family, backend?: Backend): string {
  const command = family === 6 ? 'ip6tables' : 'iptables';
  return backend === undefined ? command : backend.replace('iptables', command);
}

/** A chain that the kernel calls directly. */
export interface BaseChain {
  readonly table: Table;
  readonly chain: Chain;
  readonly hook: Hook;
  readonly isNat: boolean;
  readonly priority: number;
  readonly policy: 'accept' | 'drop';
  /** For a chain that the dump does not contain: a description of the chain, and the command that prints it. */
  readonly unreadable?: string;
}

interface DumpErrorDetails {
  readonly line: number;
  readonly found: string;
  readonly expected: string;
  /** What the text looks like instead, such as "the output of `ip link`". */
  readonly looksLike?: string | undefined;
}

/** The text is not a dump, or the dump is incomplete. */
export class DumpError extends PermanentError {
  /** The line number, starting at 1. */
  readonly line: number;

  constructor({ line, found, expected, looksLike }: DumpErrorDetails) {
    const short = found.length > maxShownLength ? `${found.slice(0, maxShownLength - 3)}...` : found;
    const shown = short.replaceAll(/[\p{Cc}\p{Cf}]/gu, '\ufffd');
    const seen = looksLike === undefined ? `found: ${shown}` : `but this looks like ${looksLike}: ${shown}`;
    super('bad-dump', `Line ${line} of the dump: expected ${expected}, ${seen}`, {
      advice:
        'On the node, run the script that `npx peermasq collect` prints, and pass its complete output. It needs nothing installed.',
    });
    this.line = line;
  }
}

const maxShownLength = 80;
