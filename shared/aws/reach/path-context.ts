import type { NetworkInterface } from '@aws-sdk/client-ec2';
import type { Connection } from '../../core/doctor/check';
import { contains, type Address } from '../../core/model/cidr';
import { isInternal } from '../../core/model/reserved-ranges';
import { definedOnly } from '../../core/util/collections';
import { lazy } from '../../core/util/functional';
import { makeEc2, type Ec2, type AccountRegion } from './fix-command';
import { undefinedIfDenied, validCidrs, type NetworkReader } from './network-reader';
import { choosePeering, toPeering, type Home, type Peering } from './peerings';
import { lookUpRoutes, type MatchedRoute, type RouteLookup } from './route-lookup';

/** How the node's VPC routes traffic to the destination, or would route it if nothing were broken. */
export type NextHop =
  | { readonly kind: 'local' }
  | { readonly kind: 'peering'; readonly peering: Peering }
  /** A peering that this account cannot describe because it belongs to another account, as in a shared VPC. */
  | { readonly kind: 'hidden-peering'; readonly route: MatchedRoute }
  | { readonly kind: 'other'; readonly route: MatchedRoute }
  | { readonly kind: 'none' };

export interface PathStart extends Home {
  readonly connection: Connection;
  readonly subnetId: string;
  readonly instanceId: string;
  readonly local: NetworkReader;
}

/** The VPC of the destination. */
export interface RemoteVpc extends AccountRegion {
  readonly vpcId: string;
  /** Absent if there are no credentials for the VPC's account and region. */
  readonly reader?: NetworkReader;
}

/** One connection, with the data that its checks share. Each value is read once, on first use. */
export interface PathContext extends Omit<PathStart, 'readerFor'> {
  readonly ec2: Ec2;
  /** The route for the destination in the node's subnet. */
  forwardRoute(): Promise<RouteLookup | undefined>;
  nextHop(): Promise<NextHop>;
  /** Undefined if no known VPC contains the destination. */
  remote(): Promise<RemoteVpc | undefined>;
  /** The node's interface that has the source address. If there is none, the primary interface. */
  localInterface(): Promise<NetworkInterface | undefined>;
  /** The interface with the destination address. */
  remoteInterface(): Promise<NetworkInterface | undefined>;
  /** The subnet of the destination. */
  remoteSubnet(): Promise<string | undefined>;
}

export function makePathContext(start: PathStart): PathContext {
  const { readerFor, ...shared } = start;
  const { connection, local, vpcId, home } = start;
  const forwardRoute = lazy(() => lookUpRoutes(local, start, connection.destination));
  const nextHop = lazy(() => findNextHop(start, forwardRoute()));
  const remote = lazy(async (): Promise<RemoteVpc | undefined> => {
    const hop = await nextHop();
    if (hop.kind === 'local') return { ...home, vpcId, reader: local };
    if (hop.kind !== 'peering') return undefined;
    return definedOnly({ ...hop.peering.remote, reader: readerFor(hop.peering.remote) });
  });
  const remoteInterface = lazy(async () => findInterface(await remote(), connection.destination));
  return {
    ...shared,
    ec2: makeEc2(home.account),
    forwardRoute,
    nextHop,
    remote,
    localInterface: lazy(async () => {
      const interfaces = await local.interfacesOf(start.instanceId);
      return interfaces.find((one) => hasAddress(one, connection.source)) ?? interfaces.find(isPrimary);
    }),
    remoteInterface,
    remoteSubnet: lazy(async () => {
      const found = await undefinedIfDenied(remoteInterface());
      return found?.SubnetId ?? findSubnet(await remote(), connection.destination);
    }),
  };
}

async function findNextHop(
  start: PathStart,
  forwardRoute: Promise<RouteLookup | undefined>,
): Promise<NextHop> {
  const { destination } = start.connection;
  const route = (await undefinedIfDenied(forwardRoute))?.route;
  if (route?.target.kind === 'local') return { kind: 'local' };
  if (route?.target.kind === 'other') return { kind: 'other', route };
  const vpcPeerings = await start.local.peerings(start.vpcId);
  const peerings = await Promise.all(vpcPeerings.map((one) => toPeering(one, start)));
  const routedPeeringId = route?.target.kind === 'peering' ? route.target.id : undefined;
  const isListed = peerings.some(({ id }) => id === routedPeeringId);
  // The route is not a blackhole, so its peering was not deleted but is not visible to this account.
  if (route && routedPeeringId !== undefined && !isListed && !route.isBlackhole)
    return { kind: 'hidden-peering', route };
  const peering = choosePeering(peerings, destination, routedPeeringId);
  if (peering) return { kind: 'peering', peering };
  const isInternetBound = route?.target.kind === 'internet' && !isInternal(destination);
  return isInternetBound ? { kind: 'other', route } : { kind: 'none' };
}

const isPrimary = ({ Attachment }: NetworkInterface): boolean => Attachment?.DeviceIndex === 0;

/**
 * Whether the interface has the address. A rule that references a security group matches only the interface's own
 * addresses, not addresses for which it forwards packets.
 */
export function hasAddress(networkInterface: NetworkInterface, address: Address): boolean {
  const {
    PrivateIpAddresses = [],
    Ipv6Addresses = [],
    Ipv4Prefixes = [],
    Ipv6Prefixes = [],
  } = networkInterface;
  const addresses = [
    ...PrivateIpAddresses.map((one) => one.PrivateIpAddress),
    ...Ipv6Addresses.map((one) => one.Ipv6Address),
  ];
  const prefixes = [
    ...Ipv4Prefixes.map((one) => one.Ipv4Prefix),
    ...Ipv6Prefixes.map((one) => one.Ipv6Prefix),
  ];
  return addresses.includes(address.text) || validCidrs(prefixes).some((range) => contains(range, address));
}

async function findInterface(
  remote: RemoteVpc | undefined,
  address: Address,
): Promise<NetworkInterface | undefined> {
  const found = (await remote?.reader?.interfacesWith(address.text)) ?? [];
  return found.find(({ VpcId }) => VpcId === remote?.vpcId);
}

async function findSubnet(remote: RemoteVpc | undefined, address: Address): Promise<string | undefined> {
  const subnets = remote?.reader ? await remote.reader.subnets(remote.vpcId) : [];
  const subnet = subnets.find(({ CidrBlock, Ipv6CidrBlockAssociationSet = [] }) => {
    const texts = [CidrBlock, ...Ipv6CidrBlockAssociationSet.map((set) => set.Ipv6CidrBlock)];
    return validCidrs(texts).some((range) => contains(range, address));
  });
  return subnet?.SubnetId;
}
