import type { IpPermission } from '@aws-sdk/client-ec2';
import { contains, type Address } from '../../core/model/cidr';
import { validCidrs, type NetworkReader } from './network-reader';

/** The other end of a connection, as a security group sees it. */
export interface OtherEndpoint {
  readonly address: Address;
  /** Of the interface with the address; undefined if that cannot be read. */
  readonly groupIds: readonly string[] | undefined;
}

export interface GroupMatch {
  /** False if it depends on the groups of the other end, which cannot be read. */
  readonly isCertain: boolean;
  /** `port 5432, 172.20.0.0/16` */
  readonly rule: string;
}

interface Traffic {
  readonly other: OtherEndpoint;
  readonly port: number;
}

/**
 * The first rule that allows TCP to a port, otherwise the first that may allow it. Security groups only allow, so
 * no match means denied.
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

/** The range, group or prefix list of the permission that includes the other end. */
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

/** A reference over a deleted peering is stale and allows nothing. */
const groupsIn = ({ UserIdGroupPairs = [] }: IpPermission): string[] =>
  UserIdGroupPairs.filter(({ PeeringStatus = 'active' }) => PeeringStatus === 'active').flatMap(
    ({ GroupId }) => GroupId ?? [],
  );
