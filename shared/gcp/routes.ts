import { CidrError, parseCidr, type Cidr } from '../core/cidr';
import {
  nodeKey,
  type Node,
  type NodeKey,
  type Route,
  type RouteSourceKind,
  type Surroundings,
} from '../core/node';
import type { Deadline, Routes } from '../core/ports';
import { mapLimited, type Clients } from './clients';
import { orAbsent } from './errors';
import { gcpRef, instanceOf, type Instance } from './instance';
import { makeLookUps, type LookUps } from './look-ups';
import { isPrivate, networkOf, rangesOf, type Network, type NetworkRef, type Subnetwork } from './network';
import { vpnRoutes } from './vpn';

/**
 * A node whose network, or one of whose own ranges, is gone or unreadable has no entry.
 * @param sharesMs for how long look-ups share what they found: many nodes that join at once do, each in a pass of
 *   its own. What is that old may miss a change, and the pass that the change itself brings comes later.
 */
export function makeGcpRoutes(clients: Clients, sharesMs: number): Routes {
  const shared = { since: -Infinity, lookUps: undefined as LookUps | undefined };
  const lookUpsFor = (deadline: Deadline): LookUps => {
    const isFresh = Date.now() - shared.since < sharesMs;
    const lookUps = (isFresh ? shared.lookUps : undefined) ?? makeLookUps(clients, deadline);
    if (lookUps !== shared.lookUps) Object.assign(shared, { since: Date.now(), lookUps });
    return lookUps;
  };
  return {
    async around(nodes, kinds, deadline) {
      const lookUps = lookUpsFor(deadline);
      const found = await mapLimited(nodes, async (node) => {
        const instance = await instanceOf(clients, node, deadline);
        const surroundings = instance && (await orAbsent(surroundingsOf(node, instance, kinds, lookUps)));
        return [nodeKey(node.ref), surroundings] as const;
      });
      return new Map(found.filter((entry): entry is [NodeKey, Surroundings] => entry[1] !== undefined));
    },
  };
}

async function surroundingsOf(
  node: Node,
  instance: Instance,
  kinds: readonly RouteSourceKind[],
  lookUps: LookUps,
): Promise<Surroundings | undefined> {
  const ref = networkOf(instance);
  if (!ref) return undefined;
  const [network, subnets] = await Promise.all([lookUps.network(ref), lookUps.subnetworks(ref)]);
  const networkRanges = allOf([network.internalIpv6Range, ...subnets.flatMap(rangesOf)]);
  const podRanges = podRangesOf(instance, subnets);
  if (!networkRanges || !podRanges) return undefined;
  const region = regionOf(gcpRef(node).zone);
  const found = await Promise.all([
    kinds.includes('peerings') ? importedRoutes(lookUps, ref, network, region) : [],
    kinds.includes('vpn') ? vpnRoutes(lookUps, ref, network, region, instance) : [],
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

/** Only what the network really imports: a peering that is not ACTIVE on both sides has no routes. */
async function importedRoutes(
  lookUps: LookUps,
  ref: NetworkRef,
  { peerings }: Network,
  region: string,
): Promise<Route[]> {
  const active = (peerings ?? []).filter(({ state }) => state === 'ACTIVE').map(({ name }) => name ?? '');
  const routes = await mapLimited(active, async (via): Promise<Route[]> => {
    const offered = await lookUps.peeringRoutes(ref, via, region);
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
