import type { VpcPeeringConnection, VpcPeeringConnectionVpcInfo } from '@aws-sdk/client-ec2';
import { addressOf, contains, type Cidr } from '../../core/cidr';
import { publicWords, type Check } from '../../core/reach';
import { isInternal } from '../../core/reserved';
import { distinct, rangesOf } from '../networks';
import { type Place } from './command';
import type { Scene } from './scene';
import { cidrsIn, ifAllowed, type Sight } from './sight';

export interface Side extends Place {
  readonly vpcId: string;
  /** Unknown while the peering is not active and the VPC is out of sight. */
  readonly ranges?: readonly Cidr[];
}

/** A peering of the node's VPC, as it is seen from there. */
export interface Peering {
  readonly id: string;
  readonly status: string;
  readonly near: Side;
  readonly far: Side;
  readonly accepter: Place;
}

/** @returns undefined for an account or region whose credentials nobody has given */
export type SightOf = (place: Place) => Sight | undefined;

export async function toPeering(
  connection: VpcPeeringConnection,
  nearVpcId: string,
  home: Place,
  sightOf: SightOf,
): Promise<Peering> {
  const { AccepterVpcInfo, RequesterVpcInfo, VpcPeeringConnectionId: id = '', Status } = connection;
  const accepter = await toSide(AccepterVpcInfo, home, sightOf);
  const requester = await toSide(RequesterVpcInfo, home, sightOf);
  const isAccepted = accepter.vpcId === nearVpcId;
  const [near, far] = isAccepted ? [accepter, requester] : [requester, accepter];
  return { id, status: Status?.Code ?? '', near, far, accepter };
}

/** EC2 tells the ranges of an active peering only; those of a VPC in sight are there before. */
async function toSide(info: VpcPeeringConnectionVpcInfo = {}, home: Place, sightOf: SightOf): Promise<Side> {
  const { VpcId: vpcId = '', OwnerId: account = home.account, Region: region = home.region } = info;
  const texts = [
    info.CidrBlock,
    ...(info.CidrBlockSet ?? []).map((set) => set.CidrBlock),
    ...(info.Ipv6CidrBlockSet ?? []).map((set) => set.Ipv6CidrBlock),
  ];
  const told = cidrsIn(distinct(texts));
  if (told.length > 0) return { vpcId, account, region, ranges: told };
  const vpc = await ifAllowed(sightOf({ account, region })?.vpc(vpcId) ?? Promise.resolve(undefined));
  const ranges = vpc && rangesOf(vpc);
  return { vpcId, account, region, ...(ranges && { ranges }) };
}

export const rangeWith = ({ ranges = [] }: Side, address: Cidr): Cidr | undefined =>
  ranges.find((range) => contains(range, address));

/** The best first. What has ended stays to be seen for a while. */
const statuses = ['active', 'provisioning', 'pending-acceptance', 'initiating-request'];

/**
 * The peering by which the destination is to be reached: one that is in use before one that is not, an active one
 * before both.
 */
export function choosePeering(
  all: readonly Peering[],
  destination: Cidr,
  usedId: string | undefined,
): Peering | undefined {
  const value = (peering: Peering) => {
    const holds = rangeWith(peering.far, destination) !== undefined;
    const place = statuses.indexOf(peering.status);
    return [
      holds && peering.status === 'active' ? 0 : 1,
      peering.id === usedId ? 0 : 1,
      place < 0 ? statuses.length : place,
    ];
  };
  const mayHold = ({ id, far }: Peering) =>
    id === usedId || far.ranges === undefined || rangeWith(far, destination) !== undefined;
  return all
    .filter(mayHold)
    .map((peering) => ({ peering, value: value(peering) }))
    .sort((a, b) => a.value.map((one, i) => one - (b.value[i] ?? 0)).find((by) => by !== 0) ?? 0)[0]?.peering;
}

export async function checkPeering(scene: Scene): Promise<Check> {
  const link = 'peering';
  const { destination } = scene.way;
  const onward = await scene.onward();
  const address = addressOf(destination);
  switch (onward.over) {
    case 'own':
      return {
        link,
        state: 'not-needed',
        evidence: [`${address} is in ${scene.vpcId}, the node's own VPC.`],
      };
    case 'beyond': {
      const { tableId, destination: to, target } = onward.hop;
      const evidence = [`The route to ${to} in ${tableId} goes over ${target.id}, not over a peering.`];
      return { link, state: 'not-needed', evidence };
    }
    case 'nowhere': {
      if (!isInternal(destination)) return { link, state: 'not-needed', evidence: [publicWords(address)] };
      const evidence = [`No peering of ${scene.vpcId} leads to a VPC that has ${address}.`];
      return { link, state: 'broken', evidence, cure: await createFor(scene) };
    }
    case 'peering':
      return { link, ...judge(scene, onward.peering) };
  }
}

const inWords = ({ vpcId, account, region, ranges }: Side): string =>
  `${vpcId} of account ${account} in ${region} (${ranges ? ranges.map(({ text }) => text).join(', ') : 'its ranges are not to be seen'})`;

function judge(scene: Scene, peering: Peering): Omit<Check, 'link'> {
  const { id, status, near, far } = peering;
  const evidence = [`${id} is ${status}, between ${inWords(near)} and ${inWords(far)}.`];
  if (status !== 'active') return { state: 'broken', evidence, cure: cureOf(scene, peering) };
  if (rangeWith(far, scene.way.destination)) return { state: 'ok', evidence };
  const missing = `${far.vpcId} does not have ${addressOf(scene.way.destination)}.`;
  return { state: 'broken', evidence: [missing, ...evidence], cure: create(scene) };
}

/** What makes a peering active that is not. */
export function cureOf(scene: Scene, { id, status, far, accepter }: Peering): string {
  const { ec2, home } = scene;
  switch (status) {
    case 'pending-acceptance':
      return ec2(accepter, 'accept-vpc-peering-connection', '--vpc-peering-connection-id', id);
    case 'provisioning':
    case 'initiating-request':
    case 'active':
      return ec2(home, 'describe-vpc-peering-connections', '--vpc-peering-connection-ids', id);
    default:
      return create(scene, far);
  }
}

function create({ ec2, home, vpcId }: Scene, far?: Side): string {
  return ec2(
    home,
    'create-vpc-peering-connection',
    ...['--vpc-id', vpcId, '--peer-vpc-id', far?.vpcId ?? 'VPC_OF_THE_DESTINATION'],
    ...(far && far.account !== home.account ? ['--peer-owner-id', far.account] : []),
    ...(far && far.region !== home.region ? ['--peer-region', far.region] : []),
  );
}

/** With the VPC of the destination, where just one of the account has the address. */
async function createFor(scene: Scene): Promise<string> {
  const { near, home, way } = scene;
  const found = (await ifAllowed(near.interfacesWith(addressOf(way.destination)))) ?? [];
  const [vpcId, ...others] = new Set(found.flatMap(({ VpcId }) => VpcId ?? []));
  return create(scene, vpcId !== undefined && others.length === 0 ? { ...home, vpcId } : undefined);
}
