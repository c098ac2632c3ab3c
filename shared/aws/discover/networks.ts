import {
  DescribeRouteTablesCommand,
  DescribeVpcPeeringConnectionsCommand,
  DescribeVpcsCommand,
  GetManagedPrefixListEntriesCommand,
  type RouteTable,
  type Vpc,
  type VpcPeeringConnection,
} from '@aws-sdk/client-ec2';
import { CidrError, parseCidr, type Cidr } from '../../core/model/cidr';
import { PermanentError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { chunks } from '../../core/util/collections';
import { tryParse } from '../../core/util/functional';
import type { Clients } from '../client/clients';
import { filterValuesLimit, listAll } from '../client/pages';

export async function readVpcs({ ec2 }: Clients, ids: string[], deadline: Deadline): Promise<Vpc[]> {
  return perChunk(ids, async (Values) => {
    const Filters = [{ Name: 'vpc-id', Values }];
    const pages = await listAll('ec2:DescribeVpcs', deadline, (next, options) =>
      ec2.send(new DescribeVpcsCommand({ Filters, ...next }), options),
    );
    return pages.flatMap(({ Vpcs = [] }) => Vpcs);
  });
}

export async function readRouteTables(
  { ec2 }: Clients,
  vpcIds: string[],
  deadline: Deadline,
): Promise<RouteTable[]> {
  return perChunk(vpcIds, async (Values) => {
    const Filters = [{ Name: 'vpc-id', Values }];
    const pages = await listAll('ec2:DescribeRouteTables', deadline, (next, options) =>
      ec2.send(new DescribeRouteTablesCommand({ Filters, ...next }), options),
    );
    return pages.flatMap(({ RouteTables = [] }) => RouteTables);
  });
}

export interface PeeringFilter {
  readonly name: 'vpc-peering-connection-id' | 'requester-vpc-info.vpc-id' | 'accepter-vpc-info.vpc-id';
  readonly values: readonly string[];
}

export async function readPeerings(
  { ec2 }: Clients,
  { name, values }: PeeringFilter,
  deadline: Deadline,
): Promise<VpcPeeringConnection[]> {
  return perChunk(values, async (Values) => {
    const Filters = [{ Name: name, Values }];
    const pages = await listAll('ec2:DescribeVpcPeeringConnections', deadline, (next, options) =>
      ec2.send(new DescribeVpcPeeringConnectionsCommand({ Filters, ...next }), options),
    );
    return pages.flatMap(({ VpcPeeringConnections = [] }) => VpcPeeringConnections);
  });
}

/**
 * Returns the ranges of a prefix list. If the list is not visible to this account, returns its id, which is not a
 * CIDR.
 */
export async function readPrefixList({ ec2 }: Clients, id: string, deadline: Deadline): Promise<string[]> {
  try {
    const pages = await listAll('ec2:GetManagedPrefixListEntries', deadline, (next, options) =>
      ec2.send(new GetManagedPrefixListEntriesCommand({ PrefixListId: id, ...next }), options),
    );
    return pages.flatMap(({ Entries = [] }) => Entries).flatMap((entry) => entry.Cidr ?? []);
  } catch (error) {
    if (error instanceof PermanentError && error.code === 'InvalidPrefixListID.NotFound') return [id];
    throw error;
  }
}

async function perChunk<T>(ids: readonly string[], read: (chunk: string[]) => Promise<T[]>): Promise<T[]> {
  return (await Promise.all(chunks(ids, filterValuesLimit).map(read))).flat();
}

export function distinct(values: readonly (string | undefined)[]): string[] {
  return [...new Set(values.filter((value) => value !== undefined))];
}

/** Returns the route table of the subnet, or the main route table of the VPC if the subnet has none. */
export function effectiveRouteTable(
  { subnetId, vpcId }: { readonly subnetId?: string; readonly vpcId: string },
  tables: readonly RouteTable[],
): RouteTable | undefined {
  const associations = tables.flatMap((table) =>
    (table.Associations ?? [])
      .filter(({ AssociationState }) => (AssociationState?.State ?? 'associated') === 'associated')
      .map((association) => ({ table, association })),
  );
  const explicit = associations.find(({ association }) => subnetId && association.SubnetId === subnetId);
  const main = associations.find(({ association, table }) => association.Main && table.VpcId === vpcId);
  return (explicit ?? main)?.table;
}

/**
 * Returns undefined if any range is unreadable, because a plan that does not know all ranges of the node's own
 * network is not safe.
 */
export function vpcRanges({
  CidrBlock,
  CidrBlockAssociationSet = [],
  Ipv6CidrBlockAssociationSet = [],
}: Vpc): Cidr[] | undefined {
  const ipv4 = CidrBlockAssociationSet.filter((set) => set.CidrBlockState?.State === 'associated');
  const ipv6 = Ipv6CidrBlockAssociationSet.filter((set) => set.Ipv6CidrBlockState?.State === 'associated');
  const texts = distinct([
    CidrBlock,
    ...ipv4.map((set) => set.CidrBlock),
    ...ipv6.map((set) => set.Ipv6CidrBlock),
  ]);
  return tryParse(
    () => texts.map(parseCidr),
    (error) => error instanceof CidrError,
  );
}
