import type { IpPermission } from '@aws-sdk/client-ec2';
import { contains, type Cidr } from '../../core/cidr';
import { cidrsIn, type Sight } from './sight';

/** The other end of a connection as a security group sees it. */
export interface Other {
  readonly address: Cidr;
  /** Of the interface that has the address. */
  readonly groupIds: readonly string[];
}

/**
 * The first permission that lets TCP to a port through, in words.
 * @returns undefined where there is none: security groups only allow
 */
export async function permitting(
  sight: Sight,
  permissions: readonly IpPermission[],
  other: Other,
  port: number,
): Promise<string | undefined> {
  for (const permission of permissions.filter((one) => coversPort(one, port))) {
    const peer = await peerIn(sight, permission, other);
    if (peer !== undefined) return `${portsOf(permission)} with ${peer}`;
  }
  return undefined;
}

const protocols = ['-1', 'tcp', '6'];

function coversPort({ IpProtocol = '', FromPort, ToPort }: IpPermission, port: number): boolean {
  if (!protocols.includes(IpProtocol)) return false;
  if (IpProtocol === '-1' || FromPort === undefined || FromPort === -1) return true;
  return FromPort <= port && port <= (ToPort ?? FromPort);
}

function portsOf({ IpProtocol, FromPort, ToPort }: IpPermission): string {
  if (IpProtocol === '-1') return 'everything';
  return FromPort === ToPort ? `port ${FromPort ?? ''}` : `ports ${FromPort ?? ''}-${ToPort ?? ''}`;
}

/** The range, prefix list or group of the permission that has the other end. */
async function peerIn(
  sight: Sight,
  { IpRanges = [], Ipv6Ranges = [], PrefixListIds = [], UserIdGroupPairs = [] }: IpPermission,
  { address, groupIds }: Other,
): Promise<string | undefined> {
  const ranges = cidrsIn([
    ...IpRanges.map(({ CidrIp }) => CidrIp),
    ...Ipv6Ranges.map(({ CidrIpv6 }) => CidrIpv6),
  ]);
  const range = ranges.find((one) => contains(one, address));
  if (range) return range.text;
  // A reference over a peering that has ended is stale, and lets nothing through.
  const pairs = UserIdGroupPairs.filter(({ PeeringStatus = 'active' }) => PeeringStatus === 'active');
  const group = pairs.find(({ GroupId = '' }) => groupIds.includes(GroupId));
  if (group) return group.GroupId;
  for (const { PrefixListId = '' } of PrefixListIds) {
    if ((await sight.prefixList(PrefixListId)).some((one) => contains(one, address))) return PrefixListId;
  }
  return undefined;
}
