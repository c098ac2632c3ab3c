import { CidrError, parseCidr, type Cidr } from '../../core/model/cidr';
import {
  nodeKey,
  type NetworkContext,
  type NodeKey,
  type Route,
  type RouteSourceKind,
} from '../../core/model/node';
import type { Deadline, NetworkDiscovery } from '../../core/cloud';
import { tryParse } from '../../core/util/functional';
import { mapLimited } from '../client/call';
import type { Clients } from '../client/clients';
import { undefinedIfNotFound } from '../client/errors';
import {
  appliesTo,
  isPrivate,
  makeNetworkInventory,
  networkOf,
  nextHopName,
  regionOf,
  routeState,
  subnetRanges,
  type ComputeRoute,
  type Instance,
  type Network,
  type NetworkInventory,
  type NetworkRef,
  type Subnetwork,
} from './networks';
import type { GcpNode } from './nodes';

/**
 * Discovers the networks of nodes. A node has no entry if its network, or one of its own ranges, is missing or
 * unreadable.
 * @param cacheMs how long network data is cached and shared between reconciliations, because nodes that join together
 * are reconciled one by one. A change during this time may be missed here, but it is handled by its own event.
 */
export function makeRoutes(clients: Clients, cacheMs: number): NetworkDiscovery<GcpNode> {
  let cached: { readonly since: number; readonly inventory: NetworkInventory } | undefined;
  function inventoryFor(deadline: Deadline): NetworkInventory {
    if (!cached || Date.now() - cached.since >= cacheMs) {
      cached = { since: Date.now(), inventory: makeNetworkInventory(clients, deadline) };
    }
    return cached.inventory;
  }
  return {
    async getNetworkContexts(nodes, kinds, deadline) {
      const inventory = inventoryFor(deadline);
      const entries = await mapLimited(nodes, async (node): Promise<[NodeKey, NetworkContext][]> => {
        const context = await undefinedIfNotFound(networkContextOf(node, kinds, inventory));
        return context ? [[nodeKey(node.ref), context]] : [];
      });
      return new Map(entries.flat());
    },
  };
}

async function networkContextOf(
  { ref: { zone }, instance }: GcpNode,
  kinds: readonly RouteSourceKind[],
  inventory: NetworkInventory,
): Promise<NetworkContext | undefined> {
  const ref = networkOf(instance);
  if (!ref) return undefined;
  const [network, subnets] = await Promise.all([inventory.network(ref), inventory.subnetworks(ref)]);
  const networkRanges = parseCidrs([network.internalIpv6Range, ...subnets.flatMap(subnetRanges)]);
  const podRanges = podRangesOf(instance, subnets);
  if (!networkRanges || !podRanges) return undefined;
  const source: RouteSource = { inventory, ref, network, region: regionOf(zone), instance };
  const routes = await Promise.all([
    kinds.includes('peerings') || kinds.includes('peering-transit') ? peeringRoutes(source) : [],
    kinds.includes('vpn') ? vpnRoutes(source) : [],
  ]);
  return {
    network: ref.network,
    networkRanges,
    podRanges,
    routedPodRanges: podRanges.filter(isPrivate),
    routes: routes.flat().filter(({ kind }) => kinds.includes(kind)),
    discoveredKinds: kinds.filter((kind) => kind !== 'transit-gateways'),
  };
}

interface RouteSource {
  readonly inventory: NetworkInventory;
  readonly ref: NetworkRef;
  readonly network: Network;
  readonly region: string;
  readonly instance: Instance;
}

/** Returns the imported routes of peerings. A peering that is not ACTIVE on both sides imports no routes. */
async function peeringRoutes({ inventory, ref, network, region }: RouteSource): Promise<Route[]> {
  const active = (network.peerings ?? []).filter(({ state }) => state === 'ACTIVE');
  const routes = await mapLimited(active, async ({ name }): Promise<Route[]> => {
    const via = name ?? '';
    const offered = await inventory.peeringRoutes(ref, via, region);
    return offered.flatMap(({ imported, destRange: destination, type }) =>
      imported && destination
        ? [{ ...peeringRouteSource(type), via, destination, state: 'active' } as const]
        : [],
    );
  });
  return routes.flat();
}

/**
 * Returns the kind of a peering's route. A peer has routes to the subnets with which it exchanges routes. Networks
 * behind the peer may have no routes back, even if the peer passes on their routes.
 */
const peeringRouteSource = (type: string | null | undefined) =>
  type === 'SUBNET_PEERING_ROUTE'
    ? ({ kind: 'peerings', peerRoutesPods: true } as const)
    : ({ kind: 'peering-transit' } as const);

/** Returns static routes into VPN tunnels, and routes that Cloud Routers learned over VPN and Interconnect. */
async function vpnRoutes({ inventory, ref, network, region, instance }: RouteSource): Promise<Route[]> {
  const [staticRoutes, learnedRoutes] = await Promise.all([
    inventory.staticRoutes(ref),
    inventory.learnedRoutes(ref, network, region),
  ]);
  const tunnels = staticRoutes.filter((route) => route.nextHopVpnTunnel && appliesTo(instance, route));
  return [...tunnels, ...learnedRoutes].flatMap(toVpnRoute);
}

function toVpnRoute(route: ComputeRoute): Route[] {
  const { destRange: destination } = route;
  if (!destination) return [];
  return [{ kind: 'vpn', via: nextHopName(route), destination, state: routeState(route) }];
}

/**
 * Returns the pod ranges of a node. VPC-native nodes have an alias range from a secondary range of the subnetwork. The
 * whole secondary range is returned, because it contains the pods of other nodes, and because nodes with equal inputs
 * share a rule set. @returns undefined if the node's subnetwork is not listed, because its ranges are then unknown
 */
function podRangesOf({ networkInterfaces }: Instance, subnets: readonly Subnetwork[]): Cidr[] | undefined {
  const [nic] = networkInterfaces ?? [];
  const subnet = subnets.find(
    ({ selfLink }) => selfLink && resourcePath(selfLink) === resourcePath(nic?.subnetwork),
  );
  if (!subnet) return undefined;
  const aliases = (nic?.aliasIpRanges ?? []).filter(({ subnetworkRangeName }) => subnetworkRangeName);
  return parseCidrs(
    aliases.map(({ subnetworkRangeName, ipCidrRange }) => {
      const range = subnet.secondaryIpRanges?.find(({ rangeName }) => rangeName === subnetworkRangeName);
      return range?.ipCidrRange ?? ipCidrRange;
    }),
  );
}

/** Returns the path of a resource. The URLs of one resource can have different hosts and API versions. */
const resourcePath = (url: string | null | undefined): string | undefined => url?.split('/projects/')[1];

/**
 * Returns undefined if any range is unreadable, because planning is safe only if all of the node's own ranges are
 * known.
 */
function parseCidrs(texts: readonly (string | null | undefined)[]): Cidr[] | undefined {
  const ranges = new Set(texts.filter((text) => typeof text === 'string'));
  ranges.delete(''); // The API returns an empty string for a range that is not set.
  return tryParse(
    () => [...ranges].map(parseCidr),
    (error) => error instanceof CidrError,
  );
}
