import { PermanentError } from '../model/errors';
import type { Step } from './simulate/packet';

export type Backend = Step['backend'];
export type Family = 4 | 6;
export type Hook = 'prerouting' | 'forward' | 'output' | 'postrouting';

/** `unknown` stays unknown until the end: both outcomes are followed. */
export type Ternary = boolean | 'unknown';

/** Addresses or numbers from `first` to `last`, both included. */
export interface Range<T extends bigint | number = bigint> {
  readonly first: T;
  readonly last: T;
}

/** `original-`: as the connection had it before any translation. */
export type AddressOf = 'source' | 'destination' | 'original-source' | 'original-destination';
export type PortOf = 'source' | 'destination' | 'either' | 'original-source' | 'original-destination';
export type MarkOf = 'packet' | 'connection';

export type Condition =
  | {
      readonly kind: 'address';
      readonly of: AddressOf;
      readonly family: Family;
      readonly ranges: readonly Range[];
    }
  /** A name that ends in `+` stands for every name that begins so. */
  | { readonly kind: 'interface'; readonly of: 'in' | 'out'; readonly names: readonly string[] }
  /** IP protocol numbers. */
  | { readonly kind: 'protocol'; readonly ranges: readonly Range<number>[] }
  | { readonly kind: 'port'; readonly of: PortOf; readonly ranges: readonly Range<number>[] }
  /** The mark under `mask` lies in one of the spans. */
  | {
      readonly kind: 'mark';
      readonly of: MarkOf;
      readonly mask: number;
      readonly ranges: readonly Range<number>[];
    }
  /**
   * `on`: only addresses of the interface it comes in or goes out by count. `isOne`: an address has one type, as nft
   * has it.
   */
  | {
      readonly kind: 'addrtype';
      readonly of: 'source' | 'destination';
      readonly types: readonly string[];
      readonly on?: 'in' | 'out';
      readonly hasSingleType?: boolean;
    }
  | { readonly kind: 'set'; readonly name: string; readonly of: readonly ('source' | 'destination')[] }
  /** Of conntrack: NEW, ESTABLISHED…, DNAT, SNAT. */
  | { readonly kind: 'state'; readonly states: readonly string[] }
  | { readonly kind: 'tcp-flags'; readonly mask: readonly string[]; readonly set: readonly string[] }
  | { readonly kind: 'icmp'; readonly type: number; readonly code: number | undefined }
  | { readonly kind: 'family'; readonly family: Family }
  | { readonly kind: 'constant'; readonly matched: boolean }
  | { readonly kind: 'any'; readonly alternatives: readonly (readonly RuleMatch[])[] }
  | { readonly kind: 'unknown'; readonly reason: string };

export type RuleMatch = Condition & { readonly negated: boolean; readonly text: string };

export type RuleTarget =
  | { readonly kind: 'accept' | 'drop' | 'return' | 'notrack' | 'redirect' | 'unknown' }
  /** Addresses, ports or other parts of the packet are written over, behind the back of conntrack. */
  | { readonly kind: 'rewrite' }
  | { readonly kind: 'masquerade' }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string }
  /** mark = (mark & ~clear) ^ (from & mask) */
  | {
      readonly kind: 'mark';
      readonly of: MarkOf;
      readonly clear: number;
      readonly from: number | MarkOf;
      readonly mask: number;
    }
  /** One of these addresses becomes the source; none of them is known where the list is empty. */
  | { readonly kind: 'snat'; readonly family: Family; readonly ranges: readonly Range[] }
  /** Without addresses only the port changes; without ports the port stays. */
  | {
      readonly kind: 'dnat';
      readonly addresses: readonly Range[] | undefined;
      readonly ports: Range<number> | undefined;
    };

export interface Rule {
  /** From 1. */
  readonly number: number;
  readonly text: string;
  readonly matches: readonly RuleMatch[];
  /** In order. The packet goes on to the next rule after those that end nothing. */
  readonly targets: readonly RuleTarget[];
  /** By which nft takes it away. */
  readonly handle?: number;
}

export interface Chain {
  readonly name: string;
  readonly rules: Rule[];
}

export interface Table {
  readonly backend: Backend;
  /** `nat`; of nft with its family: `ip peermasq`. */
  readonly name: string;
  readonly families: readonly Family[];
  readonly chains: Map<string, Chain>;
}

/** A chain that the kernel itself calls. */
export interface BaseChain {
  readonly table: Table;
  readonly chain: Chain;
  readonly hook: Hook;
  readonly isNat: boolean;
  readonly priority: number;
  readonly policy: 'accept' | 'drop';
  /** Of one that the dump does not show: which it is, and what would show it. */
  readonly unreadable?: string;
}

export interface AddressSet {
  readonly name: string;
  /** As ipset names it: `hash:net,port`, `list:set`. */
  readonly type: string;
  readonly family: Family;
  /** Bits of the addresses that count (`netmask` of ipset). */
  readonly prefix: number;
  /** Entries as they are printed, without options. */
  readonly entries: readonly { readonly text: string; readonly isExcluded: boolean }[];
}

export interface InterfaceAddress {
  readonly device: string;
  readonly family: Family;
  readonly address: bigint;
  readonly prefix: number;
  readonly isSecondary: boolean;
  readonly scope: string;
  readonly broadcast: bigint | undefined;
}

export interface KernelRoute {
  readonly type: string;
  readonly family: Family;
  readonly first: bigint;
  readonly prefix: number;
  readonly metric: number;
  /** More than one: the kernel chooses by a hash of the flow. */
  readonly nextHops: readonly { readonly device: string | undefined; readonly via: bigint | undefined }[];
}

/** Of `ip rule`: has another table than main decide for packets as these; for all, where none of it is there. */
export interface RoutingRule {
  readonly family: Family;
  readonly from: Range | undefined;
  readonly to: Range | undefined;
  readonly mark: { readonly value: number; readonly mask: number } | undefined;
}

/** What a node has in force, as far as a dump tells it. */
export interface Snapshot {
  readonly baseChains: readonly BaseChain[];
  /** Those whose programs the dump holds the output of. */
  readonly backends: ReadonlySet<Backend>;
  readonly sets: ReadonlyMap<string, AddressSet>;
  /** Sets whose entries rules change while packets pass. */
  readonly changingSets: ReadonlySet<string>;
  /** Empty where the dump has none. */
  readonly addresses: readonly InterfaceAddress[];
  readonly routes: readonly KernelRoute[];
  readonly routingRules: readonly RoutingRule[];
}

/** A mark of which only the bits in `known` are certain. */
export interface Mark {
  readonly value: number;
  readonly known: number;
}

/** What was read is no dump, or not the whole of one. */
export class DumpError extends PermanentError {
  /** From 1. */
  readonly line: number;

  constructor(line: number, found: string, expected: string, cause?: unknown) {
    const shown = found.length > 80 ? `${found.slice(0, 77)}...` : found;
    super(
      'bad-dump',
      `Line ${line} of the dump: expected ${expected}, read: ${shown.replaceAll(/[\p{Cc}\p{Cf}]/gu, '\ufffd')}`,
      'Give the whole output of `iptables-save`, and with it that of `ipset save`, `ip -o addr`, `ip route` and `ip rule`; or of `nft -j list ruleset`.',
      cause,
    );
    this.line = line;
  }
}
