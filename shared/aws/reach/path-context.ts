import type { NetworkInterface } from '@aws-sdk/client-ec2';
import { addressOf, contains, type Cidr } from '../../core/model/cidr';
import type { Connection } from '../../core/doctor/check';
import { isInternal } from '../../core/model/reserved-ranges';
import { makeEc2, type Ec2, type AccountRegion } from './fix-command';
import { choosePeering, toPeering, type Peering, type ReaderFor } from './check-peering';
import { cidrsIn, undefinedIfDenied, type NetworkReader } from './network-reader';
import { lookUpRoutes, type MatchedRoute, type RouteLookup } from './route-lookup';

/** How the node's VPC leads to the destination, or would if all were well. */
export type NextHop =
  | { readonly kind: 'local' }
  | { readonly kind: 'peering'; readonly peering: Peering }
  | { readonly kind: 'other'; readonly route: MatchedRoute }
  | { readonly kind: 'none' };

/** Where the destination is, as far as it can be looked at. */
export interface RemoteVpc extends AccountRegion {
  readonly vpcId: string;
  /** Absent for an account whose credentials nobody has given. */
  readonly reader?: NetworkReader;
}

/** One way and what the checks read of it. Nothing is asked for before a check needs it, and nothing twice. */
export interface PathContext {
  readonly connection: Connection;
  readonly vpcId: string;
  readonly subnetId: string;
  readonly instanceId: string;
  readonly home: AccountRegion;
  readonly local: NetworkReader;
  readonly ec2: Ec2;
  /** The route that the node's subnet uses for the destination. */
  forwardRoute(): Promise<RouteLookup | undefined>;
  nextHop(): Promise<NextHop>;
  /** Undefined where the destination is in no VPC that is known. */
  remote(): Promise<RemoteVpc | undefined>;
  /** The node's interface that has the source, else its primary one; undefined where none is to be seen. */
  localInterface(): Promise<NetworkInterface | undefined>;
  /** The destination's interface; undefined where it has none that can be seen. */
  remoteInterface(): Promise<NetworkInterface | undefined>;
  /** The destination's subnet. */
  remoteSubnet(): Promise<string | undefined>;
}

export interface PathContextOptions extends Pick<
  PathContext,
  'connection' | 'vpcId' | 'subnetId' | 'instanceId' | 'home' | 'local'
> {
  readonly readerFor: ReaderFor;
}

export function makePathContext(options: PathContextOptions): PathContext {
  const { readerFor, ...own } = options;
  const { connection, local, vpcId, home } = own;
  const forwardRoute = memoize(() => lookUpRoutes(local, own, connection.destination));
  const nextHop = memoize(() => findNextHop(options, forwardRoute()));
  const remote = memoize(async (): Promise<RemoteVpc | undefined> => {
    const found = await nextHop();
    if (found.kind === 'local') return { ...home, vpcId, reader: local };
    if (found.kind !== 'peering') return undefined;
    const reader = readerFor(found.peering.remote);
    return { ...found.peering.remote, ...(reader && { reader }) };
  });
  const remoteInterface = memoize(async () => findInterface(await remote(), connection.destination));
  return {
    ...own,
    ec2: makeEc2(home.account),
    forwardRoute,
    nextHop,
    remote,
    localInterface: memoize(async () => {
      const all = await local.interfacesOf(own.instanceId);
      return all.find((one) => hasAddress(one, connection.source)) ?? all.find(isPrimary);
    }),
    remoteInterface,
    remoteSubnet: memoize(async () => {
      const seen = await undefinedIfDenied(remoteInterface());
      return seen?.SubnetId ?? findSubnet(await remote(), connection.destination);
    }),
  };
}

const isPrimary = ({ Attachment }: NetworkInterface): boolean => Attachment?.DeviceIndex === 0;

/** A group stands for the addresses of its interfaces, not for what they forward. */
export function hasAddress(networkInterface: NetworkInterface, address: Cidr): boolean {
  const {
    PrivateIpAddresses = [],
    Ipv6Addresses = [],
    Ipv4Prefixes = [],
    Ipv6Prefixes = [],
  } = networkInterface;
  const texts = [
    ...PrivateIpAddresses.map((one) => one.PrivateIpAddress),
    ...Ipv6Addresses.map((one) => one.Ipv6Address),
  ];
  const prefixes = [
    ...Ipv4Prefixes.map((one) => one.Ipv4Prefix),
    ...Ipv6Prefixes.map((one) => one.Ipv6Prefix),
  ];
  return texts.includes(addressOf(address)) || cidrsIn(prefixes).some((range) => contains(range, address));
}

function memoize<T>(read: () => Promise<T>): () => Promise<T> {
  let reading: Promise<T> | undefined;
  return () => (reading ??= read());
}

async function findNextHop(
  { connection: { destination }, local, vpcId, home, readerFor }: PathContextOptions,
  forwardRoute: Promise<RouteLookup | undefined>,
): Promise<NextHop> {
  const route = (await undefinedIfDenied(forwardRoute))?.route;
  if (route?.target.kind === 'local') return { kind: 'local' };
  if (route?.target.kind === 'other') return { kind: 'other', route };
  const vpcPeerings = await local.peerings(vpcId);
  const all = await Promise.all(vpcPeerings.map((one) => toPeering(one, vpcId, home, readerFor)));
  const routedPeeringId = route?.target.kind === 'peering' ? route.target.id : undefined;
  const peering = choosePeering(all, destination, routedPeeringId);
  if (peering) return { kind: 'peering', peering };
  const isInternetBound = route?.target.kind === 'internet' && !isInternal(destination);
  return isInternetBound ? { kind: 'other', route } : { kind: 'none' };
}

async function findInterface(
  remote: RemoteVpc | undefined,
  address: Cidr,
): Promise<NetworkInterface | undefined> {
  const found = (await remote?.reader?.interfacesWith(addressOf(address))) ?? [];
  return found.find(({ VpcId }) => VpcId === remote?.vpcId);
}

async function findSubnet(remote: RemoteVpc | undefined, address: Cidr): Promise<string | undefined> {
  const subnets = remote?.reader ? await remote.reader.subnets(remote.vpcId) : [];
  const subnet = subnets.find(({ CidrBlock, Ipv6CidrBlockAssociationSet = [] }) => {
    const texts = [CidrBlock, ...Ipv6CidrBlockAssociationSet.map((set) => set.Ipv6CidrBlock)];
    return cidrsIn(texts).some((range) => contains(range, address));
  });
  return subnet?.SubnetId;
}
