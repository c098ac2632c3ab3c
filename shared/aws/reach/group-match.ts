import type { IpPermission } from '@aws-sdk/client-ec2';
import { contains, type Cidr } from '../../core/model/cidr';
import { cidrsIn, type NetworkReader } from './network-reader';

/** The other end of a connection as a security group sees it. */
export interface OtherEndpoint {
  readonly address: Cidr;
  /** Of the interface that has the address; undefined where that is not to be seen. */
  readonly groupIds: readonly string[] | undefined;
}

export interface GroupMatch {
  /** It may let the connection through: that is a matter of the other end's groups, which are not to be seen. */
  readonly isCertain: boolean;
  /** `port 5432 with 172.20.0.0/16` */
  readonly description: string;
}

/**
 * The first permission that lets TCP to a port through, else the first that may.
 * @returns undefined where there is none: security groups only allow
 */
export async function matchPermissions(
  reader: NetworkReader,
  permissions: readonly IpPermission[],
  other: OtherEndpoint,
  port: number,
): Promise<GroupMatch | undefined> {
  const covering = permissions.filter((one) => coversPort(one, port));
  for (const permission of covering) {
    const peer = await matchingReference(reader, permission, other);
    if (peer !== undefined) return { isCertain: true, description: `${portsOf(permission)} with ${peer}` };
  }
  if (other.groupIds) return undefined;
  const [maybe] = covering.flatMap((permission) =>
    groupsIn(permission).map((id) => `${portsOf(permission)} with ${id}`),
  );
  return maybe === undefined ? undefined : { isCertain: false, description: maybe };
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
async function matchingReference(
  reader: NetworkReader,
  permission: IpPermission,
  { address, groupIds = [] }: OtherEndpoint,
): Promise<string | undefined> {
  const { IpRanges = [], Ipv6Ranges = [], PrefixListIds = [] } = permission;
  const ranges = cidrsIn([
    ...IpRanges.map(({ CidrIp }) => CidrIp),
    ...Ipv6Ranges.map(({ CidrIpv6 }) => CidrIpv6),
  ]);
  const range = ranges.find((one) => contains(one, address));
  if (range) return range.text;
  const group = groupsIn(permission).find((id) => groupIds.includes(id));
  if (group !== undefined) return group;
  for (const { PrefixListId = '' } of PrefixListIds) {
    if ((await reader.prefixList(PrefixListId)).some((one) => contains(one, address))) return PrefixListId;
  }
  return undefined;
}

/** A reference over a peering that has ended is stale, and lets nothing through. */
const groupsIn = ({ UserIdGroupPairs = [] }: IpPermission): string[] =>
  UserIdGroupPairs.filter(({ PeeringStatus = 'active' }) => PeeringStatus === 'active').flatMap(
    ({ GroupId }) => GroupId ?? [],
  );
