import type { Backend } from './model';

/** What one rule did to the packet. */
export interface Step {
  readonly backend: Backend;
  /** `nat` or `mangle`; for nft the family and the name, such as `ip peermasq`. */
  readonly table: string;
  readonly chain: string;
  /** The position in the chain, starting at 1. Position 0 is the chain's policy. */
  readonly rule: number;
  /** The rule as it appears in the dump. */
  readonly text: string;
  /** `unknown` means that both outcomes were followed. */
  readonly result: 'matched' | 'not-matched' | 'unknown';
  /** The matches that decided the result, with the packet's values. */
  readonly reason: string;
}

/** Why the packet leaves with its source address. */
export type Cause =
  /** A rule changes the packet's source. */
  | 'masqueraded'
  /** No masquerade rule matches the packet. */
  | 'no-rule'
  /** A masquerade rule would match, but a RETURN or ACCEPT rule comes first. */
  | 'shadowed'
  /** A rule excludes the packet from conntrack, and untracked packets are never masqueraded. */
  | 'untracked'
  /** An exemption in peermasq's own rule set comes first. */
  | 'exempt'
  /** Peermasq's rules are in a different backend than the node's own rules. */
  | 'wrong-backend'
  /** The packet is not masqueraded, but the peer has a route to the pod according to the cloud's routes. */
  | 'not-needed'
  /** The destination is the node itself. */
  | 'stays-on-node'
  /** A rule, a chain policy or a route drops the packet. */
  | 'dropped'
  | 'unknown';

/** The address or port is null if it is unknown; the port is also null if the protocol has no ports. */
export interface SocketAddress {
  readonly address: string | null;
  readonly port: number | null;
}

/**
 * What happens to a packet. Rules that the dump does not show may change that: then `masqueraded` is `unknown` and
 * `source` is null, unless the caller assumed that the dump is complete. All other fields are about the rules shown.
 */
export interface Explanation {
  readonly masqueraded: boolean | 'unknown';
  readonly masqueradedByTablesShown: boolean | 'unknown';
  /** What the dump does not show and could change the answer, such as `iptables-legacy`. */
  readonly notShown: readonly string[];
  /** Whether the answer holds only if the parts in `notShown` have no rules for the packet. */
  readonly assumedComplete: boolean;
  /** The source address with which the packet leaves the node. Null if there are several, or if it is unknown. */
  readonly source: string | null;
  /** All known source addresses with which the packet may leave the node. */
  readonly sources: readonly string[];
  /** All destinations to which the packet may leave the node. Empty if the packet does not leave. */
  readonly destinations: readonly SocketAddress[];
  /** The rules that change the packet's destination, as they appear in the dump. */
  readonly redirectedBy: readonly string[];
  /** Whether an undecided rule may drop the packet before it leaves the node. */
  readonly mayBeDropped: boolean;
  readonly path: readonly Step[];
  /** The number of steps that are omitted from `path` to keep it readable. */
  readonly omitted: number;
  readonly cause: Cause;
  readonly reason: string;
  /** The command that makes the packet leave with the node's address. Null if nothing needs fixing. */
  readonly fix: string | null;
}
