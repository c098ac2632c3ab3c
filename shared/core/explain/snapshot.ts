import type { Backend, BaseChain, Family, Range } from './model';

/** One part of a set entry, such as the port of `10.193.0.3,tcp:443`. */
export type SetEntryPart =
  | { readonly kind: 'address'; readonly family: Family; readonly range: Range }
  /**
   * Without `protocols`, the part matches any protocol that has ports. `ports` is undefined if the ports could not be
   * parsed.
   */
  | {
      readonly kind: 'port';
      readonly protocols: readonly Range<number>[] | undefined;
      readonly ports: Range<number> | undefined;
    }
  | { readonly kind: 'interface'; readonly name: string }
  | { readonly kind: 'unknown' };

export interface SetEntry {
  /** Whether the entry has the option `nomatch`, which makes it an exception to wider entries. */
  readonly isExcluded: boolean;
  /** The length of the entry's network prefix. The matching entry with the longest prefix takes precedence. */
  readonly prefix: number;
  readonly parts: readonly SetEntryPart[];
}

export type AddressSet =
  | { readonly kind: 'list'; readonly members: readonly string[] }
  | {
      readonly kind: 'entries';
      /** Undefined if the set has no address family (`bitmap:port`). */
      readonly family: Family | undefined;
      /** The number of address bits that are compared (`netmask`). */
      readonly prefix: number;
      /** The number of parts of an entry. A match has to list as many directions (`src` or `dst`). */
      readonly dimensions: number;
      /**
       * Whether more than one part is a network. If so, prefix lengths alone do not determine which entry takes
       * precedence.
       */
      readonly hasManyNetworks: boolean;
      readonly entries: readonly SetEntry[];
    };

export interface InterfaceAddress {
  readonly device: string;
  readonly family: Family;
  readonly address: bigint;
  readonly prefix: number;
  readonly isSecondary: boolean;
  readonly scope: string;
  readonly broadcast: bigint | undefined;
}

export interface KernelNextHop {
  readonly device: string | undefined;
  readonly via: bigint | undefined;
}

export interface KernelRoute {
  readonly type: string;
  readonly family: Family;
  readonly first: bigint;
  readonly prefix: number;
  readonly metric: number;
  /** The next hops. If there are several, the kernel selects one by a hash of the flow. */
  readonly nextHops: readonly KernelNextHop[];
}

/** An `ip rule` that sends matching packets to a table other than main. An undefined field matches every packet. */
export interface RoutingRule {
  readonly family: Family;
  readonly from: Range | undefined;
  readonly to: Range | undefined;
  readonly mark: { readonly value: number; readonly mask: number } | undefined;
}

/** A part of the node's state that the dump neither shows nor shows to be absent. */
export type MissingPart = { readonly family: Family } & (
  | {
      readonly kind: 'tables';
      /** `iptables` stands for its other backend, if the dump does not show which of the two it contains. */
      readonly backend: Backend;
      /** The names of tables of iptables. Undefined if no table of the backend is shown, and for nft. */
      readonly names: readonly string[] | undefined;
      /** The names of those tables of which a part is shown. */
      readonly fragments: readonly string[];
    }
  | { readonly kind: 'addresses' | 'routes' | 'routing-rules' }
);

/** The rules, sets, addresses and routes of a node, as far as the dump shows them. */
export interface Snapshot {
  readonly baseChains: readonly BaseChain[];
  /** The backends whose output the dump contains. */
  readonly backends: ReadonlySet<Backend>;
  readonly sets: ReadonlyMap<string, AddressSet>;
  /** Sets that rules modify at runtime. */
  readonly changingSets: ReadonlySet<string>;
  /** Empty if the dump contains no output of `ip addr`. */
  readonly addresses: readonly InterfaceAddress[];
  readonly routes: readonly KernelRoute[];
  readonly routingRules: readonly RoutingRule[];
  /** What was assumed about the input, and which lines were passed over. */
  readonly warnings: readonly string[];
  readonly missing: readonly MissingPart[];
}
