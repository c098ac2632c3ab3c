import type { VpcPeeringConnection, VpcPeeringConnectionVpcInfo } from '@aws-sdk/client-ec2';
import { addressOf, contains, type Cidr } from '../../core/model/cidr';
import { publicAddressEvidence, type Check } from '../../core/doctor/check';
import { isInternal } from '../../core/model/reserved-ranges';
import { distinct, vpcRanges } from '../discover/networks';
import { type AccountRegion } from './fix-command';
import type { PathContext } from './path-context';
import { cidrsIn, undefinedIfDenied, type NetworkReader } from './network-reader';

export interface Side extends AccountRegion {
  readonly vpcId: string;
  /** Unknown while the peering is not active and the VPC is out of sight. */
  readonly ranges?: readonly Cidr[];
}

/** A peering of the node's VPC, as it is seen from there. */
export interface Peering {
  readonly id: string;
  readonly status: string;
  readonly local: Side;
  readonly remote: Side;
  readonly accepter: AccountRegion;
}

/** @returns undefined for an account or region whose credentials nobody has given */
export type ReaderFor = (location: AccountRegion) => NetworkReader | undefined;

export async function toPeering(
  vpcPeering: VpcPeeringConnection,
  localVpcId: string,
  home: AccountRegion,
  readerFor: ReaderFor,
): Promise<Peering> {
  const { AccepterVpcInfo, RequesterVpcInfo, VpcPeeringConnectionId: id = '', Status } = vpcPeering;
  const accepter = await toSide(AccepterVpcInfo, home, readerFor);
  const requester = await toSide(RequesterVpcInfo, home, readerFor);
  const isAccepted = accepter.vpcId === localVpcId;
  const [local, remote] = isAccepted ? [accepter, requester] : [requester, accepter];
  return { id, status: Status?.Code ?? '', local, remote, accepter };
}

/** EC2 tells the ranges of an active peering only; those of a VPC in sight are there before. */
async function toSide(
  info: VpcPeeringConnectionVpcInfo = {},
  home: AccountRegion,
  readerFor: ReaderFor,
): Promise<Side> {
  const { VpcId: vpcId = '', OwnerId: account = home.account, Region: region = home.region } = info;
  const texts = [
    info.CidrBlock,
    ...(info.CidrBlockSet ?? []).map((set) => set.CidrBlock),
    ...(info.Ipv6CidrBlockSet ?? []).map((set) => set.Ipv6CidrBlock),
  ];
  const activeRanges = cidrsIn(distinct(texts));
  if (activeRanges.length > 0) return { vpcId, account, region, ranges: activeRanges };
  const vpc = await undefinedIfDenied(
    readerFor({ account, region })?.vpc(vpcId) ?? Promise.resolve(undefined),
  );
  const ranges = vpc && vpcRanges(vpc);
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
  routedPeeringId: string | undefined,
): Peering | undefined {
  const value = (peering: Peering) => {
    const holds = rangeWith(peering.remote, destination) !== undefined;
    const location = statuses.indexOf(peering.status);
    return [
      holds && peering.status === 'active' ? 0 : 1,
      peering.id === routedPeeringId ? 0 : 1,
      location < 0 ? statuses.length : location,
    ];
  };
  const mayHold = ({ id, remote }: Peering) =>
    id === routedPeeringId || remote.ranges === undefined || rangeWith(remote, destination) !== undefined;
  return all
    .filter(mayHold)
    .map((peering) => ({ peering, value: value(peering) }))
    .sort((a, b) => a.value.map((one, i) => one - (b.value[i] ?? 0)).find((by) => by !== 0) ?? 0)[0]?.peering;
}

export async function checkPeering(context: PathContext): Promise<Check> {
  const name = 'peering';
  const { destination } = context.connection;
  const nextHop = await context.nextHop();
  const address = addressOf(destination);
  switch (nextHop.kind) {
    case 'local':
      return {
        name,
        state: 'not-needed',
        evidence: [`${address} is in ${context.vpcId}, the node's own VPC.`],
      };
    case 'other': {
      const { tableId, destination: to, target } = nextHop.route;
      const evidence = [`The route to ${to} in ${tableId} goes over ${target.id}, not over a peering.`];
      return { name, state: 'not-needed', evidence };
    }
    case 'none': {
      if (!isInternal(destination))
        return { name, state: 'not-needed', evidence: [publicAddressEvidence(address)] };
      const evidence = [`No peering of ${context.vpcId} leads to a VPC that has ${address}.`];
      return { name, state: 'broken', evidence, fix: await createForDestination(context) };
    }
    case 'peering':
      return { name, ...evaluatePeering(context, nextHop.peering) };
  }
}

const formatSide = ({ vpcId, account, region, ranges }: Side): string =>
  `${vpcId} of account ${account} in ${region} (${ranges ? ranges.map(({ text }) => text).join(', ') : 'its ranges are not to be seen'})`;

function evaluatePeering(context: PathContext, peering: Peering): Omit<Check, 'name'> {
  const { id, status, local, remote } = peering;
  const evidence = [`${id} is ${status}, between ${formatSide(local)} and ${formatSide(remote)}.`];
  if (status !== 'active') return { state: 'broken', evidence, fix: peeringFix(context, peering) };
  if (rangeWith(remote, context.connection.destination)) return { state: 'ok', evidence };
  const missing = `${remote.vpcId} does not have ${addressOf(context.connection.destination)}.`;
  return { state: 'broken', evidence: [missing, ...evidence], fix: create(context) };
}

/** What makes a peering active that is not. */
export function peeringFix(context: PathContext, { id, status, remote, accepter }: Peering): string {
  const { ec2, home } = context;
  switch (status) {
    case 'pending-acceptance':
      return ec2(accepter, 'accept-vpc-peering-connection', '--vpc-peering-connection-id', id);
    case 'provisioning':
    case 'initiating-request':
    case 'active':
      return ec2(home, 'describe-vpc-peering-connections', '--vpc-peering-connection-ids', id);
    default:
      return create(context, remote);
  }
}

function create({ ec2, home, vpcId }: PathContext, remote?: Side): string {
  return ec2(
    home,
    'create-vpc-peering-connection',
    ...['--vpc-id', vpcId, '--peer-vpc-id', remote?.vpcId ?? 'VPC_OF_THE_DESTINATION'],
    ...(remote && remote.account !== home.account ? ['--peer-owner-id', remote.account] : []),
    ...(remote && remote.region !== home.region ? ['--peer-region', remote.region] : []),
  );
}

/** With the VPC of the destination, where just one of the account has the address. */
async function createForDestination(context: PathContext): Promise<string> {
  const { local, home, connection } = context;
  const found = (await undefinedIfDenied(local.interfacesWith(addressOf(connection.destination)))) ?? [];
  const [vpcId, ...others] = new Set(found.flatMap(({ VpcId }) => VpcId ?? []));
  return create(context, vpcId !== undefined && others.length === 0 ? { ...home, vpcId } : undefined);
}
