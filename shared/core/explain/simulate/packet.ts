import type { Address } from '../../model/cidr';

/** The first packet of a connection. An absent field is unknown: a rule that depends on it is undecided. */
export interface Packet {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: 'tcp' | 'udp' | 'icmp' | 'icmpv6';
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** The interface on which it reaches the node. */
  readonly in?: string;
  /** The interface through which it leaves the node. */
  readonly out?: string;
  /** The node itself sends it, not a pod. */
  readonly isFromNode: boolean;
}
