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

/** The networks of some nodes, each part read once. */
interface NetworkInventory {
  readonly vpcs: ReadonlyMap<string, Vpc>;
  readonly tables: readonly RouteTable[];
  /** Status codes of peerings. */
  readonly peerings: ReadonlyMap<string, string>;
  /** Ranges of prefix lists. */
  readonly prefixLists: ReadonlyMap<string, readonly string[]>;
}

/** A terminated node, and one whose VPC is gone or unreadable, has no network context. */
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
    // EC2 knows neither the pod ranges nor whether the far side has a route to them.
    podRanges: [],
    routedPodRanges: [],
    routes: hasOwnTable
      ? routesIn(network, tables, inventory).filter(({ kind }) => kinds.includes(kind))
      : [],
    // A participant of a shared VPC may not see the route table of its subnet.
    discoveredKinds: hasOwnTable ? kinds.filter((kind) => kind !== 'peering-transit') : [],
  };
}

interface SubnetTable {
  readonly table: RouteTable;
  readonly subnetIds: readonly string[];
}

/** The effective route tables of a node's subnets, each once, that of the primary interface first. */
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

/** The routes of the primary interface's subnet, and those that only other subnets have. */
function routesIn(
  { subnetId }: NodeNetwork,
  tables: readonly SubnetTable[],
  inventory: NetworkInventory,
): Route[] {
  const own = tables.filter(({ subnetIds }) => subnetIds.includes(subnetId));
  const ownRoutes = own.flatMap(({ table: { Routes = [] } }) => Routes);
  // Whatever its target: packets of the primary interface go there.
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

/** Undefined for a route to another target, such as an internet gateway. */
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

/** One route for each range: a route to a prefix list has many. */
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
 * A route can exist before its peering is active, and its own state does not always show that. The status is undefined
 * for a peering that this account cannot describe, as in a shared VPC: then only the state of the route is known.
 */
function peeringRouteState(status: string | undefined, route: TableRoute): Route['state'] {
  if (status === 'provisioning') return 'provisioning';
  return status === undefined || status === 'active' ? routeState(route) : 'blackhole';
}
