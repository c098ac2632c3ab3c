import type { Backend, BaseChain, Family, Range } from './model';

/** One dimension of a set entry, such as the port of `10.193.0.3,tcp:443`. */
export type SetEntryPart =
  | { readonly kind: 'address'; readonly family: Family; readonly range: Range }
  /** Without `protocols` any protocol with ports; without `ports` they could not be parsed. */
  | {
      readonly kind: 'port';
      readonly protocols: readonly Range<number>[] | undefined;
      readonly ports: Range<number> | undefined;
    }
  | { readonly kind: 'interface'; readonly name: string }
  | { readonly kind: 'unknown' };

export interface SetEntry {
  /** `nomatch`: an exception from the wider entries. */
  readonly isExcluded: boolean;
  /** Length of its network prefix: the longest one that matches decides. */
  readonly prefix: number;
  readonly parts: readonly SetEntryPart[];
}

export type AddressSet =
  | { readonly kind: 'list'; readonly members: readonly string[] }
  | {
      readonly kind: 'entries';
      /** Undefined: both families (`bitmap:port`). */
      readonly family: Family | undefined;
      /** How many bits of an address are compared (`netmask`). */
      readonly prefix: number;
      /** How many entries parts have, and so how many sides a match has to name. */
      readonly dimensions: number;
      /** More than one dimension is a network, so that prefix lengths alone do not say which entry decides. */
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
  /** With more than one the kernel picks by a hash of the flow. */
  readonly nextHops: readonly KernelNextHop[];
}

/** An `ip rule` that sends matching packets to a table other than main. Undefined fields match every packet. */
export interface RoutingRule {
  readonly family: Family;
  readonly from: Range | undefined;
  readonly to: Range | undefined;
  readonly mark: { readonly value: number; readonly mask: number } | undefined;
}

/** What is in force on a node, as far as the dump shows it. */
export interface Snapshot {
  readonly baseChains: readonly BaseChain[];
  /** The backends whose output the dump contains. */
  readonly backends: ReadonlySet<Backend>;
  readonly sets: ReadonlyMap<string, AddressSet>;
  /** Sets that rules change as packets pass. */
  readonly changingSets: ReadonlySet<string>;
  /** Empty if the dump has no output of `ip addr`. */
  readonly addresses: readonly InterfaceAddress[];
  readonly routes: readonly KernelRoute[];
  readonly routingRules: readonly RoutingRule[];
}
