import { CidrError, parseCidr, type Cidr } from '../../core/model/cidr';
import {
  nodeKey,
  type NodeKey,
  type Route,
  type RouteSourceKind,
  type NetworkContext,
} from '../../core/model/node';
import type { Deadline, NetworkDiscovery } from '../../core/cloud';
import { mapLimited, type Clients } from '../client/clients';
import { undefinedIfNotFound } from '../client/errors';
import type { GcpNode, Instance } from './instance';
import { makeNetworkInventory, type NetworkInventory } from './network-inventory';
import {
  isPrivate,
  networkOf,
  subnetRanges,
  type Network,
  type NetworkRef,
  type Subnetwork,
} from './networks';
import { vpnRoutes } from './vpn';

/**
 * A node whose network, or one of whose own ranges, is gone or unreadable has no entry.
 * @param sharesMs for how long look-ups share what they found: many nodes that join at once do, each in a pass of
 *   its own. What is that old may miss a change, and the pass that the change itself brings comes later.
 */
export function makeRoutes(clients: Clients, cacheMs: number): NetworkDiscovery<GcpNode> {
  const cached = { since: -Infinity, inventory: undefined as NetworkInventory | undefined };
  const inventoryFor = (deadline: Deadline): NetworkInventory => {
    const isFresh = Date.now() - cached.since < cacheMs;
    const inventory = (isFresh ? cached.inventory : undefined) ?? makeNetworkInventory(clients, deadline);
    if (inventory !== cached.inventory) Object.assign(cached, { since: Date.now(), inventory });
    return inventory;
  };
  return {
    async getNetworkContexts(nodes, kinds, deadline) {
      const inventory = inventoryFor(deadline);
      const found = await mapLimited(nodes, async (node) => {
        const surroundings = await undefinedIfNotFound(networkContextOf(node, kinds, inventory));
        return [nodeKey(node.ref), surroundings] as const;
      });
      return new Map(found.filter((entry): entry is [NodeKey, NetworkContext] => entry[1] !== undefined));
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
  const region = regionOf(zone);
  const found = await Promise.all([
    kinds.includes('peerings') ? importedRoutes(inventory, ref, network, region) : [],
    kinds.includes('vpn') ? vpnRoutes(inventory, ref, network, region, instance) : [],
  ]);
  return {
    network: ref.network,
    networkRanges,
    podRanges,
    arePodsRouted: podRanges.length > 0 && podRanges.every(isPrivate),
    routes: found.flat(),
    discoveredKinds: kinds.filter((kind) => kind === 'peerings' || kind === 'vpn'),
  };
}

/** Only what the network really imports: a peering that is not ACTIVE on both sides has no routes. */
async function importedRoutes(
  inventory: NetworkInventory,
  ref: NetworkRef,
  { peerings }: Network,
  region: string,
): Promise<Route[]> {
  const active = (peerings ?? []).filter(({ state }) => state === 'ACTIVE').map(({ name }) => name ?? '');
  const routes = await mapLimited(active, async (via): Promise<Route[]> => {
    const offered = await inventory.peeringRoutes(ref, via, region);
    return offered.flatMap(({ imported, destRange: destination }) =>
      imported && destination ? [{ kind: 'peerings', via, destination, state: 'active' }] : [],
    );
  });
  return routes.flat();
}

export const regionOf = (zone: string): string => zone.slice(0, zone.lastIndexOf('-'));

/**
 * VPC-native nodes take their pods' addresses from a secondary range of the subnetwork, as an alias range.
 * The whole secondary range counts: pods of other nodes are pods too, and all nodes get one rule set.
 * @returns undefined also where the node's subnetwork is not listed: then neither are its ranges
 */
function podRangesOf({ networkInterfaces }: Instance, subnets: readonly Subnetwork[]): Cidr[] | undefined {
  const [nic] = networkInterfaces ?? [];
  const subnet = subnets.find(
    ({ selfLink }) => selfLink && resourcePath(selfLink) === resourcePath(nic?.subnetwork),
  );
  const aliases = (nic?.aliasIpRanges ?? []).filter(({ subnetworkRangeName }) => subnetworkRangeName);
  return (
    subnet &&
    parseCidrs(
      aliases.map(({ subnetworkRangeName, ipCidrRange }) => {
        const range = subnet.secondaryIpRanges?.find(({ rangeName }) => rangeName === subnetworkRangeName);
        return range?.ipCidrRange ?? ipCidrRange;
      }),
    )
  );
}

/** The same resource has URLs on different hosts and API versions. */
const resourcePath = (url: string | null | undefined): string | undefined => url?.split('/projects/')[1];

/** Undefined when one is unreadable: without all of its own ranges a node cannot be planned safely. */
function parseCidrs(texts: readonly (string | null | undefined)[]): Cidr[] | undefined {
  try {
    const given = new Set(texts.filter((text) => typeof text === 'string'));
    given.delete(''); // what the API leaves out
    return [...given].map(parseCidr);
  } catch (thrown) {
    if (thrown instanceof CidrError) return undefined;
    throw thrown;
  }
}
