import type { IpPermission } from '@aws-sdk/client-ec2';
import { contains, type Address } from '../../core/model/cidr';
import { validCidrs, type NetworkReader } from './network-reader';

/** The properties of the other end of a connection that security group rules match. */
export interface OtherEndpoint {
  readonly address: Address;
  /** The security groups of the interface that has the address. Undefined if the groups cannot be read. */
  readonly groupIds: readonly string[] | undefined;
}

export interface GroupMatch {
  /** False if the match depends on the security groups of the other end and these groups cannot be read. */
  readonly isCertain: boolean;
  /** `port 5432, 172.20.0.0/16` */
  readonly rule: string;
}

interface Traffic {
  readonly other: OtherEndpoint;
  readonly port: number;
}

/**
 * Returns the first rule that allows TCP to a port, or, if there is none, the first rule that may allow it. Security
 * groups have no deny rules, so the result is undefined if the traffic is denied.
 */
export async function matchPermissions(
  reader: NetworkReader,
  permissions: readonly IpPermission[],
  { other, port }: Traffic,
): Promise<GroupMatch | undefined> {
  const covering = permissions.filter((one) => coversPort(one, port));
  for (const permission of covering) {
    const reference = await matchingReference(reader, permission, other);
    if (reference !== undefined) return { isCertain: true, rule: `${portsOf(permission)}, ${reference}` };
  }
  if (other.groupIds) return undefined;
  const [possible] = covering.flatMap((permission) =>
    groupsIn(permission).map((id) => `${portsOf(permission)}, ${id}`),
  );
  return possible === undefined ? undefined : { isCertain: false, rule: possible };
}

const protocols = ['-1', 'tcp', '6'];

function coversPort({ IpProtocol = '', FromPort, ToPort }: IpPermission, port: number): boolean {
  if (!protocols.includes(IpProtocol)) return false;
  if (IpProtocol === '-1' || FromPort === undefined || FromPort === -1) return true;
  return FromPort <= port && port <= (ToPort ?? FromPort);
}

function portsOf({ IpProtocol, FromPort, ToPort }: IpPermission): string {
  if (IpProtocol === '-1') return 'all traffic';
  return FromPort === ToPort ? `port ${FromPort ?? ''}` : `ports ${FromPort ?? ''}-${ToPort ?? ''}`;
}

/** Returns the range, group or prefix list of the permission that includes the other end. */
async function matchingReference(
  reader: NetworkReader,
  permission: IpPermission,
  { address, groupIds = [] }: OtherEndpoint,
): Promise<string | undefined> {
  const { IpRanges = [], Ipv6Ranges = [], PrefixListIds = [] } = permission;
  const ranges = validCidrs([
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

/** Returns the referenced security groups. A reference over a deleted peering is stale and allows nothing. */
const groupsIn = ({ UserIdGroupPairs = [] }: IpPermission): string[] =>
  UserIdGroupPairs.filter(({ PeeringStatus = 'active' }) => PeeringStatus === 'active').flatMap(
    ({ GroupId }) => GroupId ?? [],
  );
