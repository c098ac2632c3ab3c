import type { Address } from '../../model/cidr';

/**
 * The first packet of a connection. An absent field is unknown, and a rule that depends on an unknown field is
 * undecided.
 */
export interface Packet {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: 'tcp' | 'udp' | 'icmp' | 'icmpv6';
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** The interface on which the packet reaches the node. */
  readonly in?: string;
  /** The interface through which the packet leaves the node. */
  readonly out?: string;
  /** Whether the node itself sends the packet, instead of a pod. */
  readonly isFromNode: boolean;
}
