import type { VpcPeeringConnection, VpcPeeringConnectionVpcInfo } from '@aws-sdk/client-ec2';
import { contains, type Address, type Cidr } from '../../core/model/cidr';
import { definedOnly } from '../../core/util/collections';
import { distinct, vpcRanges } from '../discover/networks';
import type { AccountRegion } from './fix-command';
import { undefinedIfDenied, validCidrs, type NetworkReader } from './network-reader';

/** The VPC at one end of a peering. */
export interface Side extends AccountRegion {
  readonly vpcId: string;
  /** Absent if the peering is not active and the VPC cannot be read. */
  readonly ranges?: readonly Cidr[];
}

/** A VPC peering. `local` is the node's VPC. */
export interface Peering {
  readonly id: string;
  readonly status: string;
  readonly local: Side;
  readonly remote: Side;
  readonly accepter: AccountRegion;
}

/** @returns undefined if there are no credentials for the account and region */
export type ReaderFor = (location: AccountRegion) => NetworkReader | undefined;

/** The location of the node, and a function that returns readers for other accounts and regions. */
export interface Home {
  readonly vpcId: string;
  readonly home: AccountRegion;
  readonly readerFor: ReaderFor;
}

export async function toPeering(vpcPeering: VpcPeeringConnection, start: Home): Promise<Peering> {
  const { AccepterVpcInfo, RequesterVpcInfo, VpcPeeringConnectionId: id = '', Status } = vpcPeering;
  const accepter = await toSide(AccepterVpcInfo, start);
  const requester = await toSide(RequesterVpcInfo, start);
  const status = Status?.Code ?? '';
  return accepter.vpcId === start.vpcId
    ? { id, status, local: accepter, remote: requester, accepter }
    : { id, status, local: requester, remote: accepter, accepter };
}

/** EC2 lists the CIDR blocks only of active peerings. For other peerings, they are read from the VPC, if possible. */
async function toSide(info: VpcPeeringConnectionVpcInfo = {}, { home, readerFor }: Home): Promise<Side> {
  const { VpcId: vpcId = '', OwnerId: account = home.account, Region: region = home.region } = info;
  const texts = [
    info.CidrBlock,
    ...(info.CidrBlockSet ?? []).map((set) => set.CidrBlock),
    ...(info.Ipv6CidrBlockSet ?? []).map((set) => set.Ipv6CidrBlock),
  ];
  const activeRanges = validCidrs(distinct(texts));
  if (activeRanges.length > 0) return { vpcId, account, region, ranges: activeRanges };
  const reader = readerFor({ account, region });
  const vpc = reader && (await undefinedIfDenied(reader.vpc(vpcId)));
  return definedOnly({ vpcId, account, region, ranges: vpc && vpcRanges(vpc) });
}

export const rangeWith = ({ ranges = [] }: Side, address: Address): Cidr | undefined =>
  ranges.find((range) => contains(range, address));

/**
 * The statuses, best first. EC2 lists a peering for a while after its deletion; the statuses of deleted peerings rank
 * last.
 */
const statuses = ['active', 'provisioning', 'pending-acceptance', 'initiating-request'];

/**
 * Returns the peering that most likely leads to the destination: active peerings rank first, then the peering that is
 * the target of the route.
 */
export function choosePeering(
  peerings: readonly Peering[],
  destination: Address,
  routedPeeringId: string | undefined,
): Peering | undefined {
  const hasDestination = ({ remote }: Peering) => rangeWith(remote, destination) !== undefined;
  const isActive = (peering: Peering) => hasDestination(peering) && peering.status === 'active';
  const isRouted = ({ id }: Peering) => id === routedPeeringId;
  const statusRank = ({ status }: Peering) =>
    statuses.includes(status) ? statuses.indexOf(status) : statuses.length;
  const [best] = peerings
    .filter((peering) => isRouted(peering) || peering.remote.ranges === undefined || hasDestination(peering))
    .sort(
      (a, b) =>
        Number(isActive(b)) - Number(isActive(a)) ||
        Number(isRouted(b)) - Number(isRouted(a)) ||
        statusRank(a) - statusRank(b),
    );
  return best;
}
