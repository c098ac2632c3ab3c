import type { Route as TableRoute, RouteTable, Vpc } from '@aws-sdk/client-ec2';
import { nodeKey, type Route, type RouteSourceKind, type NetworkContext } from '../../core/model/node';
import type { Deadline, NetworkDiscovery } from '../../core/cloud';
import type { Clients } from '../client/clients';
import {
  distinct,
  effectiveRouteTable,
  vpcRanges,
  readPeerings,
  readPrefixList,
  readRouteTables,
  readVpcs,
} from './networks';
import type { AwsNode } from './nodes';

/** What routes are read from: each part asked for once for all nodes. */
interface NetworkInventory {
  readonly vpcs: ReadonlyMap<string, Vpc>;
  readonly tables: readonly RouteTable[];
  /** Peering → its status code. */
  readonly peerings: ReadonlyMap<string, string>;
  readonly prefixLists: ReadonlyMap<string, readonly string[]>;
}

/** A node without a subnet (it is terminated) or whose network is gone or unreadable has no entry. */
export function makeRoutes(clients: Clients): NetworkDiscovery<AwsNode> {
  return {
    async getNetworkContexts(nodes, kinds, deadline) {
      const inventory = await readInventory(clients, nodes, kinds, deadline);
      return new Map(
        nodes.flatMap((node) => {
          const surroundings = networkContextOf(node, inventory, kinds);
          return surroundings ? [[nodeKey(node.ref), surroundings] as const] : [];
        }),
      );
    },
  };
}

async function readInventory(
  clients: Clients,
  nodes: readonly AwsNode[],
  kinds: readonly RouteSourceKind[],
  deadline: Deadline,
): Promise<NetworkInventory> {
  const vpcIds = distinct(nodes.map(({ network }) => network?.vpcId));
  const [vpcs, tables] = await Promise.all([
    readVpcs(clients, vpcIds, deadline),
    kinds.length === 0 ? [] : readRouteTables(clients, vpcIds, deadline),
  ]);
  const used = nodes
    .flatMap(({ network }) => (network && effectiveRouteTable(network, tables)?.Routes) ?? [])
    .filter((route) => hasKind(route, kinds));
  const [peerings, prefixLists] = await Promise.all([
    readPeeringStatuses(clients, distinct(used.map((route) => route.VpcPeeringConnectionId)), deadline),
    readPrefixLists(clients, distinct(used.map((route) => route.DestinationPrefixListId)), deadline),
  ]);
  return { vpcs: new Map(vpcs.map((vpc) => [vpc.VpcId ?? '', vpc])), tables, peerings, prefixLists };
}

async function readPeeringStatuses(clients: Clients, ids: readonly string[], deadline: Deadline) {
  const found = await readPeerings(clients, 'vpc-peering-connection-id', ids, deadline);
  return new Map(
    found.map(({ VpcPeeringConnectionId = '', Status }) => [VpcPeeringConnectionId, Status?.Code ?? '']),
  );
}

async function readPrefixLists(clients: Clients, ids: string[], deadline: Deadline) {
  const lists = ids.map(async (id) => [id, await readPrefixList(clients, id, deadline)] as const);
  return new Map(await Promise.all(lists));
}

function networkContextOf(
  { network }: AwsNode,
  inventory: NetworkInventory,
  kinds: readonly RouteSourceKind[],
): NetworkContext | undefined {
  const vpc = inventory.vpcs.get(network?.vpcId ?? '');
  const networkRanges = vpc && vpcRanges(vpc);
  if (!network || !networkRanges) return undefined;
  const routes = effectiveRouteTable(network, inventory.tables)?.Routes ?? [];
  return {
    network: vpc.VpcId ?? '',
    networkRanges,
    // EC2 knows of no pod ranges of its own, nor whether what lies behind a route knows them.
    podRanges: [],
    arePodsRouted: false,
    routes: routes.filter((route) => hasKind(route, kinds)).flatMap((route) => toRoutes(route, inventory)),
    discoveredKinds: kinds,
  };
}

/** `kind` and `via` of a route that leads where pods may need masquerading; the others are not ours. */
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

/** A route by prefix list is as many routes as the list has entries. */
function toRoutes(route: TableRoute, { peerings, prefixLists }: NetworkInventory): Route[] {
  const source = routeSource(route);
  if (!source) return [];
  const state =
    source.kind === 'peerings' ? peeringRouteState(peerings.get(source.via), route) : routeState(route);
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

const routeState = ({ State }: TableRoute): Route['state'] => (State === 'active' ? 'active' : 'blackhole');

/** Routes may be made before their peering is active, and do not always say so themselves. */
const peeringRouteState = (peering: string | undefined, route: TableRoute): Route['state'] =>
  peering === 'provisioning' ? 'provisioning' : peering === 'active' ? routeState(route) : 'blackhole';
