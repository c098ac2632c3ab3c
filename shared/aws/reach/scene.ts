import type { NetworkInterface } from '@aws-sdk/client-ec2';
import { addressOf, contains, type Cidr } from '../../core/cidr';
import type { Way } from '../../core/reach';
import { isInternal } from '../../core/reserved';
import { makeEc2, type Ec2, type Place } from './command';
import { choosePeering, toPeering, type Peering, type SightOf } from './peering';
import { cidrsIn, ifAllowed, type Sight } from './sight';
import { lookUp, type Hop, type Lookup } from './table';

/** How the node's VPC leads to the destination, or would if all were well. */
export type Onward =
  | { readonly over: 'own' }
  | { readonly over: 'peering'; readonly peering: Peering }
  | { readonly over: 'beyond'; readonly hop: Hop }
  | { readonly over: 'nowhere' };

/** Where the destination is, as far as it can be looked at. */
export interface Far extends Place {
  readonly vpcId: string;
  /** Absent for an account whose credentials nobody has given. */
  readonly sight?: Sight;
}

/** One way and what the checks read of it. Nothing is asked for before a check needs it, and nothing twice. */
export interface Scene {
  readonly way: Way;
  readonly vpcId: string;
  readonly subnetId: string;
  readonly instanceId: string;
  readonly home: Place;
  readonly near: Sight;
  readonly ec2: Ec2;
  /** The route that the node's subnet uses for the destination. */
  there(): Promise<Lookup | undefined>;
  onward(): Promise<Onward>;
  /** Undefined where the destination is in no VPC that is known. */
  far(): Promise<Far | undefined>;
  /** The node's interface that has the source, else its primary one; undefined where none is to be seen. */
  nearInterface(): Promise<NetworkInterface | undefined>;
  /** The destination's interface; undefined where it has none that can be seen. */
  farInterface(): Promise<NetworkInterface | undefined>;
  /** The destination's subnet. */
  farSubnet(): Promise<string | undefined>;
}

export interface Standpoint extends Pick<
  Scene,
  'way' | 'vpcId' | 'subnetId' | 'instanceId' | 'home' | 'near'
> {
  readonly sightOf: SightOf;
}

export function makeScene(standpoint: Standpoint): Scene {
  const { sightOf, ...own } = standpoint;
  const { way, near, vpcId, home } = own;
  const there = lazily(() => lookUp(near, own, way.destination));
  const onward = lazily(() => findOnward(standpoint, there()));
  const far = lazily(async (): Promise<Far | undefined> => {
    const found = await onward();
    if (found.over === 'own') return { ...home, vpcId, sight: near };
    if (found.over !== 'peering') return undefined;
    const sight = sightOf(found.peering.far);
    return { ...found.peering.far, ...(sight && { sight }) };
  });
  const farInterface = lazily(async () => interfaceIn(await far(), way.destination));
  return {
    ...own,
    ec2: makeEc2(home.account),
    there,
    onward,
    far,
    nearInterface: lazily(async () => {
      const all = await near.interfacesOf(own.instanceId);
      return all.find((one) => hasAddress(one, way.source)) ?? all.find(isPrimary);
    }),
    farInterface,
    farSubnet: lazily(async () => {
      const seen = await ifAllowed(farInterface());
      return seen?.SubnetId ?? subnetIn(await far(), way.destination);
    }),
  };
}

const isPrimary = ({ Attachment }: NetworkInterface): boolean => Attachment?.DeviceIndex === 0;

/** A group stands for the addresses of its interfaces, not for what they forward. */
export function hasAddress(face: NetworkInterface, address: Cidr): boolean {
  const { PrivateIpAddresses = [], Ipv6Addresses = [], Ipv4Prefixes = [], Ipv6Prefixes = [] } = face;
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

function lazily<T>(read: () => Promise<T>): () => Promise<T> {
  let reading: Promise<T> | undefined;
  return () => (reading ??= read());
}

async function findOnward(
  { way: { destination }, near, vpcId, home, sightOf }: Standpoint,
  there: Promise<Lookup | undefined>,
): Promise<Onward> {
  const hop = (await ifAllowed(there))?.hop;
  if (hop?.target.kind === 'local') return { over: 'own' };
  if (hop?.target.kind === 'beyond') return { over: 'beyond', hop };
  const connections = await near.peerings(vpcId);
  const all = await Promise.all(connections.map((one) => toPeering(one, vpcId, home, sightOf)));
  const usedId = hop?.target.kind === 'peering' ? hop.target.id : undefined;
  const peering = choosePeering(all, destination, usedId);
  if (peering) return { over: 'peering', peering };
  const isOutside = hop?.target.kind === 'internet' && !isInternal(destination);
  return isOutside ? { over: 'beyond', hop } : { over: 'nowhere' };
}

async function interfaceIn(far: Far | undefined, address: Cidr): Promise<NetworkInterface | undefined> {
  const found = (await far?.sight?.interfacesWith(addressOf(address))) ?? [];
  return found.find(({ VpcId }) => VpcId === far?.vpcId);
}

async function subnetIn(far: Far | undefined, address: Cidr): Promise<string | undefined> {
  const subnets = far?.sight ? await far.sight.subnets(far.vpcId) : [];
  const holds = subnets.find(({ CidrBlock, Ipv6CidrBlockAssociationSet = [] }) => {
    const texts = [CidrBlock, ...Ipv6CidrBlockAssociationSet.map((set) => set.Ipv6CidrBlock)];
    return cidrsIn(texts).some((range) => contains(range, address));
  });
  return holds?.SubnetId;
}
