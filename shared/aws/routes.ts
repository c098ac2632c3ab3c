import type { Route as TableRoute, RouteTable, Vpc } from '@aws-sdk/client-ec2';
import { nodeKey, type Route, type RouteSourceKind, type Surroundings } from '../core/node';
import type { Deadline, Routes } from '../core/ports';
import type { Clients } from './clients';
import {
  distinct,
  effectiveTable,
  rangesOf,
  readPeerings,
  readPrefixList,
  readTables,
  readVpcs,
} from './networks';
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
    statusesOf(clients, distinct(used.map((route) => route.VpcPeeringConnectionId)), deadline),
    readPrefixLists(clients, distinct(used.map((route) => route.DestinationPrefixListId)), deadline),
  ]);
  return { vpcs: new Map(vpcs.map((vpc) => [vpc.VpcId ?? '', vpc])), tables, peerings, prefixLists };
}

async function statusesOf(clients: Clients, ids: readonly string[], deadline: Deadline) {
  const found = await readPeerings(clients, 'vpc-peering-connection-id', ids, deadline);
  return new Map(
    found.map(({ VpcPeeringConnectionId = '', Status }) => [VpcPeeringConnectionId, Status?.Code ?? '']),
  );
}

async function readPrefixLists(clients: Clients, ids: string[], deadline: Deadline) {
  const lists = ids.map(async (id) => [id, await readPrefixList(clients, id, deadline)] as const);
  return new Map(await Promise.all(lists));
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
