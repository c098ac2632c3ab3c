import type { Route as TableRoute, RouteTable, Vpc } from '@aws-sdk/client-ec2';
import { nodeKey, type NetworkContext, type Route, type RouteSourceKind } from '../../core/model/node';
import type { Deadline, NetworkDiscovery } from '../../core/cloud';
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
import type { AwsNode } from './nodes';

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
    .flatMap(({ network }) => (network && effectiveRouteTable(network, tables)?.Routes) ?? [])
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
  const routes = effectiveRouteTable(network, inventory.tables)?.Routes ?? [];
  return {
    network: network.vpcId,
    networkRanges,
    // EC2 knows neither the pod ranges nor whether the far side has a route to them.
    podRanges: [],
    routedPodRanges: [],
    routes: routes.filter((route) => hasKind(route, kinds)).flatMap((route) => toRoutes(route, inventory)),
    discoveredKinds: kinds.filter((kind) => kind !== 'peering-transit'),
  };
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
function toRoutes(route: TableRoute, { peerings, prefixLists }: NetworkInventory): Route[] {
  const source = routeSource(route);
  if (!source) return [];
  const state =
    source.kind === 'peerings' ? peeringRouteState(peerings.get(source.via), route) : routeState(route);
  return destinationsOf(route, prefixLists).map((destination) => ({ ...source, destination, state }));
}

function destinationsOf(
  { DestinationCidrBlock, DestinationIpv6CidrBlock, DestinationPrefixListId }: TableRoute,
  prefixLists: NetworkInventory['prefixLists'],
): readonly string[] {
  const range = DestinationCidrBlock ?? DestinationIpv6CidrBlock;
  return range === undefined ? (prefixLists.get(DestinationPrefixListId ?? '') ?? []) : [range];
}

const routeState = ({ State }: TableRoute): Route['state'] => (State === 'active' ? 'active' : 'blackhole');

/** A route can exist before its peering is active, and its own state does not always show that. */
function peeringRouteState(status: string | undefined, route: TableRoute): Route['state'] {
  if (status === 'provisioning') return 'provisioning';
  return status === 'active' ? routeState(route) : 'blackhole';
}
