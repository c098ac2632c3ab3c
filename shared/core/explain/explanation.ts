import type { Backend } from './model';

/** How one rule treated the packet. */
export interface Step {
  readonly backend: Backend;
  /** `nat`, `mangle`; with nft, family and name: `ip peermasq`. */
  readonly table: string;
  readonly chain: string;
  /** Position in the chain, from 1; 0 for the chain's policy. */
  readonly rule: number;
  /** The rule as printed in the dump. */
  readonly text: string;
  /** `unknown`: both outcomes were followed. */
  readonly result: 'matched' | 'not-matched' | 'unknown';
  /** The matches that decided it, with the packet's values. */
  readonly reason: string;
}

/** Why the packet leaves with the source that it has. */
export type Cause =
  /** A rule changes its source. */
  | 'masqueraded'
  /** No masquerade rule matches it. */
  | 'no-rule'
  /** A masquerade rule would match, but a RETURN or ACCEPT comes first. */
  | 'shadowed'
  /** A rule excludes it from conntrack, and untracked packets are never masqueraded. */
  | 'untracked'
  /** An exemption in peermasq's own rule set comes first. */
  | 'exempt'
  /** peermasq's rules are in a different backend than the node's own. */
  | 'wrong-backend'
  /** Not masqueraded, and the peer has a route to the pod. Only the cloud can tell. */
  | 'not-needed'
  /** The destination is the node itself. */
  | 'stays-on-node'
  /** A rule, a chain policy or a route drops it. */
  | 'dropped'
  | 'unknown';

/** Null: unknown, or the protocol has no ports. */
export interface SocketAddress {
  readonly address: string | null;
  readonly port: number | null;
}

export interface Explanation {
  readonly masqueraded: boolean | 'unknown';
  /** The address it leaves with; null if there is more than one, or it is unknown. */
  readonly source: string | null;
  /** Every known address it may leave with. */
  readonly sources: readonly string[];
  /** Every destination it may leave for; empty if it does not leave the node. */
  readonly destinations: readonly SocketAddress[];
  /** The rules that change its destination, as printed in the dump. */
  readonly redirectedBy: readonly string[];
  /** It leaves the node unless an undecided rule drops it. */
  readonly mayBeDropped: boolean;
  readonly path: readonly Step[];
  /** How many steps were left out of `path` to keep it readable. */
  readonly omitted: number;
  readonly cause: Cause;
  readonly reason: string;
  /** The command that makes it leave with the node's address; null if nothing needs fixing. */
  readonly fix: string | null;
}
