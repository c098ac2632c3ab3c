import {
  DescribeRouteTablesCommand,
  DescribeVpcPeeringConnectionsCommand,
  DescribeVpcsCommand,
  GetManagedPrefixListEntriesCommand,
  type Route as TableRoute,
  type RouteTable,
  type Vpc,
} from '@aws-sdk/client-ec2';
import { CidrError, parseCidr, type Cidr } from '../core/cidr';
import { PermanentError } from '../core/errors';
import { nodeKey, type Route, type RouteSourceKind, type Surroundings } from '../core/node';
import type { Deadline, Routes } from '../core/ports';
import { allPages, call, chunks, filterValuesLimit } from './call';
import type { Clients } from './clients';
import type { AwsNode } from './nodes';

/** What routes are read from: each part asked for once for all nodes. */
interface Inventory {
  readonly vpcs: ReadonlyMap<string, Vpc>;
  readonly tables: readonly RouteTable[];
  /** Peering → its status code. */
  readonly peerings: ReadonlyMap<string, string>;
  readonly prefixLists: ReadonlyMap<string, readonly string[]>;
}

/** A node without a subnet (it is terminated) or whose network is gone or unreadable has no entry. */
export function makeRoutes(clients: Clients): Routes {
  return {
    async around(nodes: readonly AwsNode[], kinds, deadline) {
      const inventory = await look(clients, nodes, kinds, deadline);
      return new Map(
        nodes.flatMap((node) => {
          const surroundings = surroundingsOf(node, inventory, kinds);
          return surroundings ? [[nodeKey(node.ref), surroundings] as const] : [];
        }),
      );
    },
  };
}

async function look(
  clients: Clients,
  nodes: readonly AwsNode[],
  kinds: readonly RouteSourceKind[],
  deadline: Deadline,
): Promise<Inventory> {
  const vpcIds = distinct(nodes.map(({ vpcId }) => vpcId));
  const [vpcs, tables] = await Promise.all([
    readVpcs(clients, vpcIds, deadline),
    kinds.length === 0 ? [] : readTables(clients, vpcIds, deadline),
  ]);
  const used = nodes
    .flatMap((node) => effectiveTable(node, tables)?.Routes ?? [])
    .filter((route) => isOfKind(route, kinds));
  const [peerings, prefixLists] = await Promise.all([
    readPeerings(clients, distinct(used.map((route) => route.VpcPeeringConnectionId)), deadline),
    readPrefixLists(clients, distinct(used.map((route) => route.DestinationPrefixListId)), deadline),
  ]);
  return { vpcs: new Map(vpcs.map((vpc) => [vpc.VpcId ?? '', vpc])), tables, peerings, prefixLists };
}

async function readVpcs({ ec2 }: Clients, ids: string[], deadline: Deadline): Promise<Vpc[]> {
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

async function readTables({ ec2 }: Clients, vpcIds: string[], deadline: Deadline): Promise<RouteTable[]> {
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

async function readPeerings(
  { ec2 }: Clients,
  ids: string[],
  deadline: Deadline,
): Promise<Map<string, string>> {
  const found = await perChunk(ids, async (Values) => {
    const Filters = [{ Name: 'vpc-peering-connection-id', Values }];
    const pages = await allPages((next) =>
      call('ec2:DescribeVpcPeeringConnections', deadline, (options) =>
        ec2.send(new DescribeVpcPeeringConnectionsCommand({ Filters, ...next }), options),
      ),
    );
    return pages.flatMap(({ VpcPeeringConnections = [] }) => VpcPeeringConnections);
  });
  return new Map(
    found.map(({ VpcPeeringConnectionId = '', Status }) => [VpcPeeringConnectionId, Status?.Code ?? '']),
  );
}

async function readPrefixLists(clients: Clients, ids: string[], deadline: Deadline) {
  const lists = ids.map(async (id) => [id, await readPrefixList(clients, id, deadline)] as const);
  return new Map(await Promise.all(lists));
}

/** The ranges of a prefix list, or its id where it cannot be seen: then its routes are reported as unreadable. */
async function readPrefixList({ ec2 }: Clients, id: string, deadline: Deadline): Promise<string[]> {
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

function distinct(values: readonly (string | undefined)[]): string[] {
  return [...new Set(values.filter((value) => value !== undefined))];
}

/** The table that the subnet is associated with, else the main one of its network. */
function effectiveTable({ subnetId, vpcId }: AwsNode, tables: readonly RouteTable[]): RouteTable | undefined {
  const associations = tables.flatMap((table) =>
    (table.Associations ?? [])
      .filter(({ AssociationState }) => (AssociationState?.State ?? 'associated') === 'associated')
      .map((association) => ({ table, association })),
  );
  const explicit = associations.find(({ association }) => subnetId && association.SubnetId === subnetId);
  const main = associations.find(({ association, table }) => association.Main && table.VpcId === vpcId);
  return (explicit ?? main)?.table;
}

function surroundingsOf(
  node: AwsNode,
  inventory: Inventory,
  kinds: readonly RouteSourceKind[],
): Surroundings | undefined {
  const vpc = inventory.vpcs.get(node.vpcId ?? '');
  const networkRanges = vpc && rangesOf(vpc);
  if (!networkRanges) return undefined;
  const routes = effectiveTable(node, inventory.tables)?.Routes ?? [];
  return {
    network: vpc.VpcId ?? '',
    networkRanges,
    // EC2 knows of no pod ranges of its own, nor whether what lies behind a route knows them.
    podRanges: [],
    arePodsRouted: false,
    routes: routes.filter((route) => isOfKind(route, kinds)).flatMap((route) => readRoute(route, inventory)),
    kindsLookedUp: kinds,
  };
}

/** Undefined when one is unreadable: without all of its own ranges a node cannot be planned safely. */
function rangesOf({
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

/** `kind` and `via` of a route that leads where pods may need masquerading; the others are not ours. */
function sourceOf(route: TableRoute): Pick<Route, 'kind' | 'via'> | undefined {
  const { VpcPeeringConnectionId, TransitGatewayId, GatewayId } = route;
  if (VpcPeeringConnectionId) return { kind: 'peerings', via: VpcPeeringConnectionId };
  if (TransitGatewayId) return { kind: 'transit-gateways', via: TransitGatewayId };
  if (GatewayId?.startsWith('vgw-')) return { kind: 'vpn', via: GatewayId };
  return undefined;
}

function isOfKind(route: TableRoute, kinds: readonly RouteSourceKind[]): boolean {
  const source = sourceOf(route);
  return source !== undefined && kinds.includes(source.kind);
}

/** A route by prefix list is as many routes as the list has entries. */
function readRoute(route: TableRoute, { peerings, prefixLists }: Inventory): Route[] {
  const source = sourceOf(route);
  if (!source) return [];
  const state = source.kind === 'peerings' ? stateOver(peerings.get(source.via), route) : ownState(route);
  const { DestinationCidrBlock, DestinationIpv6CidrBlock, DestinationPrefixListId } = route;
  const destinations = [
    DestinationCidrBlock ?? DestinationIpv6CidrBlock ?? prefixLists.get(DestinationPrefixListId ?? '') ?? [],
  ].flat();
  return destinations.map((destination) => ({
    ...source,
    destination,
    state,
  }));
}

const ownState = ({ State }: TableRoute): Route['state'] => (State === 'active' ? 'active' : 'blackhole');

/** Routes may be made before their peering is active, and do not always say so themselves. */
const stateOver = (peering: string | undefined, route: TableRoute): Route['state'] =>
  peering === 'provisioning' ? 'provisioning' : peering === 'active' ? ownState(route) : 'blackhole';
