import { PermanentError } from '../model/errors';

export type Backend = 'iptables-nft' | 'iptables-legacy' | 'nft';
export type Family = 4 | 6;
export type Hook = 'prerouting' | 'forward' | 'output' | 'postrouting';
export type Side = 'source' | 'destination';
/** Whether the packet arrives on an interface or leaves through it. */
export type Direction = 'in' | 'out';

/** `unknown` is never resolved by a guess: both outcomes are followed. */
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

/** Addresses or numbers from `first` to `last`, inclusive. */
export interface Range<T extends bigint | number = bigint> {
  readonly first: T;
  readonly last: T;
}

/** `original-`: of the connection, before any translation. */
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
  /** A name that ends in `+` is a prefix. */
  | { readonly kind: 'interface'; readonly direction: Direction; readonly names: readonly string[] }
  /** IP protocol numbers. */
  | { readonly kind: 'protocol'; readonly ranges: readonly Range<number>[] }
  | { readonly kind: 'port'; readonly field: PortField; readonly ranges: readonly Range<number>[] }
  /** `mark & mask` is in one of the ranges. */
  | {
      readonly kind: 'mark';
      readonly field: MarkField;
      readonly mask: number;
      readonly ranges: readonly Range<number>[];
    }
  /**
   * `limitTo`: only addresses of the packet's interface in that direction count.
   * `hasSingleType`: as in nft, where an address has one type; in iptables an IPv6 address can be LOCAL and UNICAST.
   */
  | {
      readonly kind: 'addrtype';
      readonly side: Side;
      readonly types: readonly string[];
      readonly limitTo: Direction | undefined;
      readonly hasSingleType: boolean;
    }
  | { readonly kind: 'set'; readonly name: string; readonly sides: readonly Side[] }
  /** Conntrack states: NEW, ESTABLISHED…, DNAT, SNAT. */
  | { readonly kind: 'state'; readonly states: readonly string[] }
  | { readonly kind: 'tcp-flags'; readonly mask: readonly string[]; readonly set: readonly string[] }
  | { readonly kind: 'icmp'; readonly type: number; readonly code: number | undefined }
  | { readonly kind: 'family'; readonly family: Family }
  | { readonly kind: 'constant'; readonly matched: boolean }
  | { readonly kind: 'any'; readonly alternatives: readonly (readonly RuleMatch[])[] }
  | { readonly kind: 'unknown'; readonly reason: string };

export type RuleMatch = Condition & { readonly isNegated: boolean; readonly text: string };

/** A match that peermasq cannot evaluate. */
export const unknownMatch = (text: string, reason: string): RuleMatch => ({
  kind: 'unknown',
  reason,
  isNegated: false,
  text,
});

export type RuleTarget =
  | { readonly kind: 'accept' | 'drop' | 'return' | 'notrack' | 'masquerade' | 'redirect' | 'unknown' }
  /** Overwrites addresses, ports or other parts of the packet without conntrack. */
  | { readonly kind: 'rewrite' }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string }
  /** mark = (mark & ~clear) ^ (from & mask) */
  | {
      readonly kind: 'mark';
      readonly field: MarkField;
      readonly clear: number;
      readonly from: number | MarkField;
      readonly mask: number;
    }
  /** The source becomes one of these addresses; an empty list means that none is known. */
  | { readonly kind: 'snat'; readonly family: Family; readonly ranges: readonly Range[] }
  /** Without addresses only the port changes; without ports the port stays. */
  | {
      readonly kind: 'dnat';
      readonly addresses: readonly Range[] | undefined;
      readonly ports: Range<number> | undefined;
    };

export interface Rule {
  /** Position in the chain, from 1; 0 for the chain's policy. */
  readonly number: number;
  readonly text: string;
  readonly matches: readonly RuleMatch[];
  /** Applied in order. After those that end nothing the packet goes on to the next rule. */
  readonly targets: readonly RuleTarget[];
  /** By which nft deletes the rule. */
  readonly handle?: number;
}

export interface Chain {
  readonly name: string;
  readonly rules: Rule[];
}

export interface Table {
  readonly backend: Backend;
  /** `nat`; for nft with its family: `ip peermasq`. */
  readonly name: string;
  /** Both parts of the name, for nft. */
  readonly nft?: { readonly family: string; readonly name: string };
  readonly families: readonly Family[];
  readonly chains: Map<string, Chain>;
}

/** The chain that a target jumps to. */
export const calledChain = (target: RuleTarget, { chains }: Table): Chain | undefined =>
  target.kind === 'jump' || target.kind === 'goto' ? chains.get(target.chain) : undefined;

/** `ip6tables-nft`; without a backend `ip6tables`. */
export function iptablesCommand(family: Family, backend?: Backend): string {
  const command = family === 6 ? 'ip6tables' : 'iptables';
  return backend === undefined ? command : backend.replace('iptables', command);
}

/** A chain that the kernel itself calls. */
export interface BaseChain {
  readonly table: Table;
  readonly chain: Chain;
  readonly hook: Hook;
  readonly isNat: boolean;
  readonly priority: number;
  readonly policy: 'accept' | 'drop';
  /** For a chain that is not in the dump: which one it is, and which command prints it. */
  readonly unreadable?: string;
}

/** The text is not a dump, or not a complete one. */
export class DumpError extends PermanentError {
  /** From 1. */
  readonly line: number;

  constructor({ line, found, expected }: { line: number; found: string; expected: string }) {
    const shown = found.length > 80 ? `${found.slice(0, 77)}...` : found;
    super(
      'bad-dump',
      `Line ${line} of the dump: expected ${expected}, found: ${shown.replaceAll(/[\p{Cc}\p{Cf}]/gu, '\ufffd')}`,
      {
        advice:
          'Give the complete output of `iptables-save`, together with `ipset save`, `ip -o addr`, `ip route` and `ip rule`; or of `nft -j list ruleset`.',
      },
    );
    this.line = line;
  }
}
