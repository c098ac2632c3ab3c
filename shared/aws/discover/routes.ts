import type { Route as TableRoute, RouteTable, Vpc } from '@aws-sdk/client-ec2';
import { nodeKey, type NetworkContext, type Route, type RouteSourceKind } from '../../core/model/node';
import type { Deadline, NetworkDiscovery } from '../../core/cloud';
import { groupBy } from '../../core/util/collections';
import type { Access, Clients } from '../client/clients';
import {
  distinct,
  effectiveRouteTable,
  readPeerings,
  readPrefixList,
  readRouteTables,
  readVpcs,
  vpcRanges,
} from './networks';
import type { AwsNode, NodeNetwork } from './nodes';

/** The networks of a group of nodes. Each part is read only once. */
interface NetworkInventory {
  readonly vpcs: ReadonlyMap<string, Vpc>;
  readonly tables: readonly RouteTable[];
  /** The status codes of peerings, by peering id. */
  readonly peerings: ReadonlyMap<string, string>;
  /** The ranges of prefix lists, by prefix list id. */
  readonly prefixLists: ReadonlyMap<string, readonly string[]>;
}

/**
 * Discovers the networks of nodes. A terminated node, or a node whose VPC is deleted or unreadable, has no network
 * context.
 */
export function makeRoutes(clients: Clients): NetworkDiscovery<AwsNode> {
  return {
    async getNetworkContexts(nodes, kinds, deadline) {
      const inventory = await readInventory({ clients, deadline }, nodes, kinds);
      return new Map(
        nodes.flatMap((node) => {
          const context = networkContextOf(node, inventory, kinds);
          return context ? [[nodeKey(node.ref), context] as const] : [];
        }),
      );
    },
  };
}

async function readInventory(
  { clients, deadline }: Access,
  nodes: readonly AwsNode[],
  kinds: readonly RouteSourceKind[],
): Promise<NetworkInventory> {
  const vpcIds = distinct(nodes.map(({ network }) => network?.vpcId));
  const [vpcs, tables] = await Promise.all([
    readVpcs(clients, vpcIds, deadline),
    kinds.length === 0 ? [] : readRouteTables(clients, vpcIds, deadline),
  ]);
  const used = nodes
    .flatMap(({ network }) => (network ? routeTablesOf(network, tables) : []))
    .flatMap(({ table: { Routes = [] } }) => Routes)
    .filter((route) => hasKind(route, kinds));
  const peeringIds = distinct(used.map((route) => route.VpcPeeringConnectionId));
  const prefixListIds = distinct(used.map((route) => route.DestinationPrefixListId));
  const [peerings, prefixLists] = await Promise.all([
    readPeeringStatuses(clients, peeringIds, deadline),
    readPrefixLists(clients, prefixListIds, deadline),
  ]);
  return { vpcs: new Map(vpcs.map((vpc) => [vpc.VpcId ?? '', vpc])), tables, peerings, prefixLists };
}

async function readPeeringStatuses(clients: Clients, ids: readonly string[], deadline: Deadline) {
  const filter = { name: 'vpc-peering-connection-id', values: ids } as const;
  const peerings = await readPeerings(clients, filter, deadline);
  return new Map(
    peerings.map(({ VpcPeeringConnectionId = '', Status }) => [VpcPeeringConnectionId, Status?.Code ?? '']),
  );
}

async function readPrefixLists(clients: Clients, ids: readonly string[], deadline: Deadline) {
  const lists = ids.map(async (id) => [id, await readPrefixList(clients, id, deadline)] as const);
  return new Map(await Promise.all(lists));
}

function networkContextOf(
  { network }: AwsNode,
  inventory: NetworkInventory,
  kinds: readonly RouteSourceKind[],
): NetworkContext | undefined {
  const vpc = network && inventory.vpcs.get(network.vpcId);
  const networkRanges = vpc && vpcRanges(vpc);
  if (!networkRanges) return undefined;
  const tables = routeTablesOf(network, inventory.tables);
  const hasOwnTable = tables.some(({ subnetIds }) => subnetIds.includes(network.subnetId));
  return {
    network: network.vpcId,
    networkRanges,
    // EC2 does not know the pod ranges, or whether the peer network has a route to them.
    podRanges: [],
    routedPodRanges: [],
    routes: hasOwnTable
      ? routesIn(network, tables, inventory).filter(({ kind }) => kinds.includes(kind))
      : [],
    // A participant account of a shared VPC may have no permission to read its subnet's route table.
    discoveredKinds: hasOwnTable ? kinds.filter((kind) => kind !== 'peering-transit') : [],
  };
}

interface SubnetTable {
  readonly table: RouteTable;
  readonly subnetIds: readonly string[];
}

/**
 * Returns each effective route table of a node's subnets once. The table of the primary interface's subnet comes
 * first.
 */
function routeTablesOf(
  { vpcId, subnetId, otherSubnetIds }: NodeNetwork,
  tables: readonly RouteTable[],
): SubnetTable[] {
  const effective = [subnetId, ...otherSubnetIds].flatMap((id) => {
    const table = effectiveRouteTable({ vpcId, subnetId: id }, tables);
    return table ? [{ table, id }] : [];
  });
  return [...groupBy(effective, ({ table }) => table)].map(([table, group]) => ({
    table,
    subnetIds: group.map(({ id }) => id),
  }));
}

/** Returns the routes of the primary interface's subnet, and the routes that only other subnets have. */
function routesIn(
  { subnetId }: NodeNetwork,
  tables: readonly SubnetTable[],
  inventory: NetworkInventory,
): Route[] {
  const own = tables.filter(({ subnetIds }) => subnetIds.includes(subnetId));
  const ownRoutes = own.flatMap(({ table: { Routes = [] } }) => Routes);
  // Routes with any kind of target are included, because packets from the primary interface use all of them.
  const ownDestinations = new Set(ownRoutes.flatMap((route) => destinationsOf(route, inventory)));
  const others = tables
    .filter((table) => !own.includes(table))
    .flatMap(({ table: { Routes = [] }, subnetIds }) =>
      Routes.flatMap((route) => toRoutes(route, inventory)).map((route) => ({ route, subnetIds })),
    )
    .filter(({ route }) => !ownDestinations.has(route.destination));
  const distinctOthers = groupBy(others, ({ route }) => `${route.via} ${route.destination}`).values();
  return [
    ...ownRoutes.flatMap((route) => toRoutes(route, inventory)),
    ...[...distinctOthers].map((group): Route => {
      const onlyInSubnets = distinct(group.flatMap(({ subnetIds }) => subnetIds)).sort();
      return { ...group[0].route, onlyInSubnets };
    }),
  ];
}

/** Returns undefined for a route to any other kind of target, such as an internet gateway. */
function routeSource(route: TableRoute): Pick<Route, 'kind' | 'via'> | undefined {
  const { VpcPeeringConnectionId, TransitGatewayId, GatewayId } = route;
  if (VpcPeeringConnectionId) return { kind: 'peerings', via: VpcPeeringConnectionId };
  if (TransitGatewayId) return { kind: 'transit-gateways', via: TransitGatewayId };
  if (GatewayId?.startsWith('vgw-')) return { kind: 'vpn', via: GatewayId };
  return undefined;
}

function hasKind(route: TableRoute, kinds: readonly RouteSourceKind[]): boolean {
  const source = routeSource(route);
  return source !== undefined && kinds.includes(source.kind);
}

/** Returns one route for each range, because a prefix list can contain many ranges. */
function toRoutes(route: TableRoute, inventory: NetworkInventory): Route[] {
  const source = routeSource(route);
  if (!source) return [];
  const { kind, via } = source;
  const state =
    kind === 'peerings' ? peeringRouteState(inventory.peerings.get(via), route) : routeState(route);
  return destinationsOf(route, inventory).map((destination) => ({ ...source, destination, state }));
}

function destinationsOf(
  { DestinationCidrBlock, DestinationIpv6CidrBlock, DestinationPrefixListId }: TableRoute,
  { prefixLists }: NetworkInventory,
): readonly string[] {
  const range = DestinationCidrBlock ?? DestinationIpv6CidrBlock;
  return range === undefined ? (prefixLists.get(DestinationPrefixListId ?? '') ?? []) : [range];
}

const routeState = ({ State }: TableRoute): Route['state'] => (State === 'active' ? 'active' : 'blackhole');

/**
 * Returns the state of a route over a peering. A route can exist before its peering is active, and the route's own
 * state does not always show that. In a shared VPC, this account may be unable to describe the peering. The status is
 * then undefined, and only the state of the route is known.
 */
function peeringRouteState(status: string | undefined, route: TableRoute): Route['state'] {
  if (status === 'provisioning') return 'provisioning';
  return status === undefined || status === 'active' ? routeState(route) : 'blackhole';
}
