import type { NetworkInterface } from '@aws-sdk/client-ec2';
import type { Address, Cidr } from '../../core/model/cidr';
import type { CheckResult } from '../../core/doctor/check';
import type { Direction } from './acl-match';
import type { AccountRegion } from './fix-command';
import type { OtherEndpoint } from './group-match';
import type { NetworkReader } from './network-reader';

/** One end of the connection, whose firewalls are checked. */
export interface Endpoint {
  readonly reader: NetworkReader;
  readonly location: AccountRegion;
  readonly networkInterface: NetworkInterface;
  /** The direction of the connection's first packet: out of the node, into the peer. */
  readonly direction: Direction;
  readonly other: OtherEndpoint;
  /** The account and region in which the other end's interface can be described. */
  readonly otherLocation: AccountRegion;
  /**
   * The range that the fix command allows. For a peer, it is the peer's address. For a node, it is the VPC range, which
   * also contains future replacements of the node.
   */
  readonly allowedRange: Cidr;
}

/** The result for one security group or network ACL. */
export interface LayerResult extends Pick<CheckResult, 'fix'> {
  readonly state: 'ok' | 'broken' | 'unknown';
  readonly evidence: string;
}

export const groupIdsOf = ({ Groups = [] }: NetworkInterface): string[] =>
  Groups.flatMap(({ GroupId }) => GroupId ?? []);

/** `outbound traffic to 10.0.3.20` */
export function describeTraffic(direction: Direction, traffic: string, other: Address): string {
  return direction === 'egress'
    ? `outbound ${traffic} to ${other.text}`
    : `inbound ${traffic} from ${other.text}`;
}
