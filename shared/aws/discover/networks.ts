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
import { allPages, call } from '../client/call';
import { filterValuesLimit } from '../client/pages';
import { chunks } from '../../core/util/collections';
import type { Clients } from '../client/clients';

/** What EC2 tells of networks, and how it is read. */

export async function readVpcs({ ec2 }: Clients, ids: string[], deadline: Deadline): Promise<Vpc[]> {
  return perChunk(ids, async (Values) => {
    const Filters = [{ Name: 'vpc-id', Values }];
    const pages = await allPages((next) =>
      call('ec2:DescribeVpcs', deadline, (options) =>
        ec2.send(new DescribeVpcsCommand({ Filters, ...next }), options),
      ),
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
    const pages = await allPages((next) =>
      call('ec2:DescribeRouteTables', deadline, (options) =>
        ec2.send(new DescribeRouteTablesCommand({ Filters, ...next }), options),
      ),
    );
    return pages.flatMap(({ RouteTables = [] }) => RouteTables);
  });
}

/** Those with one of these values of a filter. */
export async function readPeerings(
  { ec2 }: Clients,
  filter: 'vpc-peering-connection-id' | 'requester-vpc-info.vpc-id' | 'accepter-vpc-info.vpc-id',
  values: readonly string[],
  deadline: Deadline,
): Promise<VpcPeeringConnection[]> {
  return perChunk(values, async (Values) => {
    const Filters = [{ Name: filter, Values }];
    const pages = await allPages((next) =>
      call('ec2:DescribeVpcPeeringConnections', deadline, (options) =>
        ec2.send(new DescribeVpcPeeringConnectionsCommand({ Filters, ...next }), options),
      ),
    );
    return pages.flatMap(({ VpcPeeringConnections = [] }) => VpcPeeringConnections);
  });
}

/** The ranges of a prefix list, or its id where it cannot be seen: what names it is then unreadable. */
export async function readPrefixList({ ec2 }: Clients, id: string, deadline: Deadline): Promise<string[]> {
  try {
    const pages = await allPages((next) =>
      call('ec2:GetManagedPrefixListEntries', deadline, (options) =>
        ec2.send(new GetManagedPrefixListEntriesCommand({ PrefixListId: id, ...next }), options),
      ),
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

/** The table that the subnet is associated with, else the main one of its network. */
export function effectiveRouteTable(
  { subnetId, vpcId }: { readonly subnetId?: string; readonly vpcId?: string },
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

/** Undefined when one is unreadable: without all of its own ranges a node cannot be planned safely. */
export function vpcRanges({
  CidrBlock,
  CidrBlockAssociationSet = [],
  Ipv6CidrBlockAssociationSet = [],
}: Vpc): Cidr[] | undefined {
  const v4 = CidrBlockAssociationSet.filter((set) => set.CidrBlockState?.State === 'associated');
  const v6 = Ipv6CidrBlockAssociationSet.filter((set) => set.Ipv6CidrBlockState?.State === 'associated');
  const texts = distinct([
    CidrBlock,
    ...v4.map((set) => set.CidrBlock),
    ...v6.map((set) => set.Ipv6CidrBlock),
  ]);
  try {
    return texts.map(parseCidr);
  } catch (error) {
    if (error instanceof CidrError) return undefined;
    throw error;
  }
}
