import type { Cidr } from '../../model/cidr';

/** The first packet of a connection. What is absent is not known, and whatever asks for it stays open. */
export interface Packet {
  /** One-address ranges. */
  readonly source: Cidr;
  readonly destination: Cidr;
  readonly protocol: 'tcp' | 'udp' | 'icmp' | 'icmpv6';
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** The interface it reaches the node by. */
  readonly in?: string;
  /** The interface it leaves the node by. */
  readonly out?: string;
  /** It begins on the node itself, and not in a pod. */
  readonly isFromNode: boolean;
}

/** How one rule dealt with the packet. */
export interface Step {
  readonly backend: 'iptables-nft' | 'iptables-legacy' | 'nft';
  /** `nat`, `mangle`; of nft with its family, `ip peermasq`. */
  readonly table: string;
  readonly chain: string;
  /** Its number in the chain, from 1; 0 for the chain's policy. */
  readonly rule: number;
  /** As the dump has it. */
  readonly text: string;
  /** `unknown`: both outcomes were followed. */
  readonly result: 'matched' | 'not-matched' | 'unknown';
  /** What decided that, in words. */
  readonly reason: string;
}

/** Why the packet leaves as it does. */
export type Cause =
  /** A rule gives it another source. */
  | 'masqueraded'
  /** No rule that masquerades matches it. */
  | 'no-rule'
  /** One would, but a RETURN or ACCEPT stands before it. */
  | 'shadowed'
  /** A rule takes it out of conntrack, without which no rule masquerades. */
  | 'untracked'
  /** An exemption of peermasq's own rule set stands before it. */
  | 'exempt'
  /** peermasq's rules are in another backend than the node's own. */
  | 'wrong-backend'
  /** Nothing does, and nothing has to: peers have routes to the pod. Only the cloud tells that. */
  | 'not-needed'
  /** Its destination is the node itself. */
  | 'stays-on-node'
  /** A rule or a policy of the node ends it. */
  | 'dropped'
  | 'unknown';

/** Null is what is not known, or what its protocol does not have. */
export interface SocketAddress {
  readonly address: string | null;
  readonly port: number | null;
}

export interface Explanation {
  readonly masqueraded: boolean | 'unknown';
  /** The address that it leaves with; null where that depends on what is not known. */
  readonly source: string | null;
  /** Every address that it may leave with. */
  readonly sources: readonly string[];
  /** Every place that it may leave for; none where it does not leave. */
  readonly destinations: readonly SocketAddress[];
  /** The rules that give it another destination than it had, as the dump has them. */
  readonly redirectedBy: readonly string[];
  /** It leaves, unless a rule that cannot be decided drops it. */
  readonly mayBeDropped: boolean;
  readonly path: readonly Step[];
  /** Steps of the same kinds that `path` leaves out, because nobody reads as many. */
  readonly omitted: number;
  readonly cause: Cause;
  /** One sentence. */
  readonly reason: string;
  /** What would have it leave with the node's address: a command; null where nothing is to be cured. */
  readonly fix: string | null;
}
