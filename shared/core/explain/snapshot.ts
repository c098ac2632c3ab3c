import type { Backend, BaseChain, Family, Range } from './model';
import type { TrackedFlow } from './parse/conntrack';

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
  /** The name or number of the routing table, such as `main` or `2`. */
  readonly table: string;
  readonly first: bigint;
  readonly prefix: number;
  readonly metric: number;
  /** For IPv6 routes that apply only to packets from some sources (`from`). */
  readonly from: Range | undefined;
  /**
   * Whether the route applies only in cases that a dump does not show: to packets with a type of service, or while
   * its link is up.
   */
  readonly isConditional: boolean;
  /** The next hops. If there are several, the kernel selects one by a hash of the flow. */
  readonly nextHops: readonly KernelNextHop[];
}

export type RoutingAction =
  | {
      readonly kind: 'lookup';
      readonly table: string;
      /** Routes whose prefix is not longer than this are ignored (`suppress_prefixlength`). */
      readonly suppressedPrefix: number | undefined;
      /** Routes to interfaces of this group are ignored (`suppress_ifgroup`). */
      readonly suppressedGroup: string | undefined;
    }
  | { readonly kind: 'goto'; readonly priority: number }
  | { readonly kind: 'nop' }
  | { readonly kind: 'reject'; readonly type: string }
  | { readonly kind: 'unknown'; readonly text: string };

/** An `ip rule`. A selector that is undefined matches every packet. */
export interface RoutingRule {
  readonly family: Family;
  readonly priority: number;
  readonly text: string;
  /** Whether the rule matches the packets that its selectors do not match. */
  readonly isNegated: boolean;
  readonly from: Range | undefined;
  readonly to: Range | undefined;
  readonly mark: { readonly value: number; readonly mask: number } | undefined;
  /** The interface on which the packet arrives. It is `lo` for packets that the node itself sends. */
  readonly in: string | undefined;
  /** The interface to which the sending socket is bound. */
  readonly out: string | undefined;
  readonly users: Range<number> | undefined;
  readonly protocol: number | undefined;
  readonly sourcePorts: Range<number> | undefined;
  readonly destinationPorts: Range<number> | undefined;
  /** Selectors that cannot be evaluated, such as `tos 0x10`. */
  readonly unknown: readonly string[];
  readonly action: RoutingAction;
}

/** The selectors of a rule that matches every packet. */
export const everyPacket = {
  isNegated: false,
  from: undefined,
  to: undefined,
  mark: undefined,
  in: undefined,
  out: undefined,
  users: undefined,
  protocol: undefined,
  sourcePorts: undefined,
  destinationPorts: undefined,
} as const satisfies Partial<RoutingRule>;

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
  | { readonly kind: 'addresses' | 'routes' | 'routing-rules' | 'sets' }
);

/** Returns the parts that the dump does not show and that packets of the family depend on. */
export const missingFor = ({ missing }: Pick<Snapshot, 'missing'>, family: Family): MissingPart[] =>
  missing.filter((part) => part.family === family);

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
  /** The bridge, bond or VRF of each interface, undefined if it has none. Without `-o`, `ip addr` prints them. */
  readonly masters: ReadonlyMap<string, string | undefined>;
  readonly routes: readonly KernelRoute[];
  /** In order of priority. Empty for a family whose rules the dump does not contain. */
  readonly routingRules: readonly RoutingRule[];
  /** What was assumed about the input, and which lines were passed over. */
  readonly warnings: readonly string[];
  readonly missing: readonly MissingPart[];
  /** Connections that conntrack tracks. The dump may show only some of them. */
  readonly flows: readonly TrackedFlow[];
  /** The routing tables of which the dump contains every route, each as returned by `routingTableKey`. */
  readonly completeRoutingTables: ReadonlySet<string>;
}

/** Identifies a routing table. Without a table the key is that of all tables of the family. */
export const routingTableKey = (family: Family, table = '*'): string => `${family} ${table}`;
