import type { protos } from '@google-cloud/compute';
import { CidrError, contains, parseCidr, type Cidr } from '../core/cidr';
import {
  nodeKey,
  type Node,
  type NodeKey,
  type Route,
  type RouteSourceKind,
  type Surroundings,
} from '../core/node';
import type { Deadline, Routes } from '../core/ports';
import { callOptions, mapLimited, type Clients } from './clients';
import { orAbsent, retrying } from './errors';
import { gcpRef, instanceOf, type Instance } from './instance';
import { isOf, keyOf, once, type Network, type NetworkRef } from './network';
import { makeVpn } from './vpn';

type Subnetwork = protos.google.cloud.compute.v1.ISubnetwork;

const networkUrl = /\/projects\/([a-z0-9.:-]+)\/global\/networks\/([a-z0-9-]+)$/;

function networkOf({ networkInterfaces }: Instance): NetworkRef | undefined {
  const [, project, network] = networkUrl.exec(networkInterfaces?.[0]?.network ?? '') ?? [];
  return project !== undefined && network !== undefined ? { project, network } : undefined;
}

/**
 * A node whose network, or one of whose own ranges, is gone or unreadable has no entry.
 * @param sharesMs for how long look-ups share what they found: many nodes that join at once do, each in a pass of
 *   its own. What is that old may miss a change, and the pass that the change itself brings comes later.
 */
export function makeGcpRoutes(clients: Clients, sharesMs: number): Routes {
  const shared = { since: -Infinity, inventory: undefined as Inventory | undefined };
  const inventoryFor = (deadline: Deadline): Inventory => {
    const isFresh = Date.now() - shared.since < sharesMs;
    const inventory = (isFresh ? shared.inventory : undefined) ?? makeInventory(clients, deadline);
    if (inventory !== shared.inventory) Object.assign(shared, { since: Date.now(), inventory });
    return inventory;
  };
  return {
    async around(nodes, kinds, deadline) {
      const inventory = inventoryFor(deadline);
      const found = await mapLimited(nodes, async (node) => {
        const instance = await instanceOf(clients, node, deadline);
        const surroundings = instance && (await orAbsent(surroundingsOf(node, instance, kinds, inventory)));
        return [nodeKey(node.ref), surroundings] as const;
      });
      return new Map(found.filter((entry): entry is [NodeKey, Surroundings] => entry[1] !== undefined));
    },
  };
}

type Inventory = ReturnType<typeof makeInventory>;

/** What nodes share: each part is asked for when it is first needed, and once. */
function makeInventory(clients: Clients, deadline: Deadline) {
  const networks = once<Network>();
  const subnetworks = once<Subnetwork[]>();
  const imported = once<Route[]>();
  return {
    network: (ref: NetworkRef) => networks(keyOf(ref), () => getNetwork(clients, ref, deadline)),
    subnetworks: (project: string) => subnetworks(project, () => listSubnetworks(clients, project, deadline)),
    imported: (ref: NetworkRef, network: Network, region: string) =>
      imported(`${keyOf(ref)}/${region}`, () => importedRoutes(clients, ref, network, region, deadline)),
    vpn: makeVpn(clients, deadline),
  };
}

async function surroundingsOf(
  node: Node,
  instance: Instance,
  kinds: readonly RouteSourceKind[],
  inventory: Inventory,
): Promise<Surroundings | undefined> {
  const ref = networkOf(instance);
  if (!ref) return undefined;
  const [network, subnets] = await Promise.all([inventory.network(ref), inventory.subnetworks(ref.project)]);
  const ownSubnets = subnets.filter((subnet) => isOf(ref, subnet.network));
  const networkRanges = rangesOf(network, ownSubnets);
  const podRanges = podRangesOf(instance, ownSubnets);
  if (!networkRanges || !podRanges) return undefined;
  const region = regionOf(gcpRef(node).zone);
  const found = await Promise.all([
    kinds.includes('peerings') ? inventory.imported(ref, network, region) : [],
    kinds.includes('vpn') ? inventory.vpn(ref, network, region, instance) : [],
  ]);
  return {
    network: ref.network,
    networkRanges,
    podRanges,
    arePodsRouted: podRanges.length > 0 && podRanges.every(isPrivate),
    routes: found.flat(),
    kindsLookedUp: kinds.filter((kind) => kind === 'peerings' || kind === 'vpn'),
  };
}

function getNetwork(
  clients: Clients,
  { project, network }: NetworkRef,
  deadline: Deadline,
): Promise<Network> {
  return retrying(`read network ${network} of ${project}`, deadline, async () => {
    const client = await clients.networks();
    const [found] = await client.get({ project, network }, callOptions(deadline));
    return found;
  });
}

function listSubnetworks(clients: Clients, project: string, deadline: Deadline): Promise<Subnetwork[]> {
  return retrying(`list the subnetworks of ${project}`, deadline, async () => {
    const client = await clients.subnetworks();
    const listed: Subnetwork[] = [];
    const request = { project, maxResults: 500 };
    for await (const [, { subnetworks }] of client.aggregatedListAsync(request, callOptions(deadline))) {
      listed.push(...(subnetworks ?? []));
    }
    return listed;
  });
}

/** Only what the network really imports: a peering that is not ACTIVE on both sides has no routes. */
async function importedRoutes(
  clients: Clients,
  ref: NetworkRef,
  { peerings }: Network,
  region: string,
  deadline: Deadline,
): Promise<Route[]> {
  const active = (peerings ?? []).filter(({ state }) => state === 'ACTIVE').map(({ name }) => name ?? '');
  const routes = await mapLimited(active, (peeringName) =>
    listPeeringRoutes(clients, { ...ref, peeringName, region }, deadline),
  );
  return routes.flat();
}

function listPeeringRoutes(
  clients: Clients,
  peering: NetworkRef & { readonly peeringName: string; readonly region: string },
  deadline: Deadline,
): Promise<Route[]> {
  const via = peering.peeringName;
  return retrying(`list the routes of peering ${via}`, deadline, async () => {
    const client = await clients.networks();
    const request = { ...peering, direction: 'INCOMING', maxResults: 500 };
    const routes: Route[] = [];
    for await (const route of client.listPeeringRoutesAsync(request, callOptions(deadline))) {
      const { imported, destRange: destination } = route;
      if (imported && destination) routes.push({ kind: 'peerings', via, destination, state: 'active' });
    }
    return routes;
  });
}

const regionOf = (zone: string): string => zone.slice(0, zone.lastIndexOf('-'));

function rangesOf(network: Network, subnets: readonly Subnetwork[]): Cidr[] | undefined {
  return allOf([
    network.internalIpv6Range,
    ...subnets.flatMap((subnet) => [
      subnet.ipCidrRange,
      subnet.internalIpv6Prefix,
      subnet.externalIpv6Prefix,
      ...(subnet.secondaryIpRanges ?? []).map(({ ipCidrRange }) => ipCidrRange),
    ]),
  ]);
}

/**
 * VPC-native nodes take their pods' addresses from a secondary range of the subnetwork, as an alias range.
 * The whole secondary range counts: pods of other nodes are pods too, and all nodes get one rule set.
 * @returns undefined also where the node's subnetwork is not listed: then neither are its ranges
 */
function podRangesOf({ networkInterfaces }: Instance, subnets: readonly Subnetwork[]): Cidr[] | undefined {
  const [nic] = networkInterfaces ?? [];
  const subnet = subnets.find(({ selfLink }) => selfLink && pathOf(selfLink) === pathOf(nic?.subnetwork));
  const aliases = (nic?.aliasIpRanges ?? []).filter(({ subnetworkRangeName }) => subnetworkRangeName);
  return (
    subnet &&
    allOf(
      aliases.map(({ subnetworkRangeName, ipCidrRange }) => {
        const range = subnet.secondaryIpRanges?.find(({ rangeName }) => rangeName === subnetworkRangeName);
        return range?.ipCidrRange ?? ipCidrRange;
      }),
    )
  );
}

/** The same resource has URLs on different hosts and API versions. */
const pathOf = (url: string | null | undefined): string | undefined => url?.split('/projects/')[1];

/** Undefined when one is unreadable: without all of its own ranges a node cannot be planned safely. */
function allOf(texts: readonly (string | null | undefined)[]): Cidr[] | undefined {
  try {
    const given = new Set(texts.filter((text) => typeof text === 'string'));
    given.delete(''); // what the API leaves out
    return [...given].map(parseCidr);
  } catch (thrown) {
    if (thrown instanceof CidrError) return undefined;
    throw thrown;
  }
}

/**
 * Peerings exchange the routes of subnetworks, secondary ranges included, unless their addresses are public
 * ones in private use (https://cloud.google.com/vpc/docs/vpc-peering#subnet-routes).
 */
const privateRanges = [
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '198.18.0.0/15',
  '240.0.0.0/4',
].map(parseCidr);

const isPrivate = (range: Cidr): boolean => privateRanges.some((outer) => contains(outer, range));
