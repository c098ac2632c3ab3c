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

/** What the user wants for the packet: the node's address as its source, or its own. */
export const wants = ['masqueraded', 'direct'] as const;
export type Want = (typeof wants)[number];

/** How to change the behavior in the configuration of the program that wrote the deciding rule. */
export interface LastingFix {
  /** The program, such as `ip-masq-agent`. */
  readonly owner: string;
  readonly advice: string;
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
  /** The node itself sends the packet, so its source is an address of the node already. */
  | 'from-node'
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
  readonly want: Want;
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
  /** Whether the packet may also leave with a source address that is not in `sources`, because it is unknown. */
  readonly hasUnknownSource: boolean;
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
  /** Counters and tracked connections that support the explanation. */
  readonly evidence: readonly string[];
  /**
   * The commands after which the packet leaves as wanted, until a program rewrites the rules. Null if it does already,
   * or if no added rule would help.
   */
  readonly fix: string | null;
  readonly lastingFix: LastingFix | null;
}

/** Whether the packet leaves the node as wanted, or does not have to leave it. */
export function isAsWanted({
  want,
  masqueraded,
  cause,
}: Pick<Explanation, 'want' | 'masqueraded' | 'cause'>): boolean {
  if (cause === 'stays-on-node' || cause === 'from-node') return true;
  if (cause === 'dropped') return false;
  if (want === 'direct') return masqueraded === false;
  return cause === 'not-needed' || (masqueraded === true && cause !== 'wrong-backend');
}
