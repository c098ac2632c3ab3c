import { isInternal } from '../../core/model/reserved-ranges';
import { CidrError, contains, parseCidr, type Cidr } from '../../core/model/cidr';
import type { Instance } from '../discover/instance';
import {
  appliesTo,
  lastSegment,
  nextHopName,
  routeState,
  subnetRanges,
  type ComputeRoute,
  type Network,
  type NetworkRef,
  type PeeringRoute,
} from '../discover/networks';
import type { NetworkReader } from './network-reader';

/** Where routes are looked at from. */
export interface NetworkLocation {
  readonly ref: NetworkRef;
  readonly network: Network;
  readonly region: string;
  /** Routes with tags are for instances that have one; for nobody where it is not known who it is. */
  readonly instance?: Instance;
}

/** A route of a network that holds an address. */
export interface MatchedRoute {
  readonly to: 'subnet' | 'peering' | 'internet' | 'next-hop' | 'blackhole';
  readonly range: Cidr;
  /** Subnet routes count before all others, and are exchanged with whoever is peered. */
  readonly isSubnetRoute: boolean;
  readonly priority: number;
  /** Name of the subnet, peering or next hop. */
  readonly via: string;
  /** `static route to-vpn`: what it is, for people. */
  readonly description: string;
}

export interface CandidateRoutes {
  /** What a packet takes. */
  readonly best?: MatchedRoute;
  /** What peerings offer, and the network does not import. */
  readonly notImported: readonly MatchedRoute[];
}

/**
 * The routes of a network that hold an address, as it chooses among them: those of subnets, own and peered, then the
 * narrowest, then by priority (https://cloud.google.com/vpc/docs/routes#routeselection).
 */
export async function lookUpRoutes(
  reader: NetworkReader,
  location: NetworkLocation,
  address: Cidr,
): Promise<CandidateRoutes> {
  const containsAddress = ({ range }: MatchedRoute) => contains(range, address);
  const subnets = (await subnetRoutes(reader, location)).filter(containsAddress);
  const offered = (await offeredRoutes(reader, location)).filter(([matched]) => containsAddress(matched));
  const imported = offered.flatMap(([matched, isImported]) => (isImported ? [matched] : []));
  const notImported = offered.flatMap(([matched, isImported]) => (isImported ? [] : [matched]));
  const subnetMatches = [...subnets, ...imported.filter(({ isSubnetRoute }) => isSubnetRoute)];
  // Nothing else counts beside them, so it need not be permitted to see more.
  const others =
    subnetMatches.length > 0
      ? []
      : [...(await staticMatches(reader, location)), ...(await learnedMatches(reader, location))];
  const [best] = [...subnetMatches, ...others.filter(containsAddress), ...imported].toSorted(byPreference);
  return { ...(best && { best }), notImported };
}

const byPreference = (a: MatchedRoute, b: MatchedRoute): number =>
  Number(b.isSubnetRoute) - Number(a.isSubnetRoute) ||
  b.range.prefix - a.range.prefix ||
  a.priority - b.priority;

/** It leads to somebody: internal addresses are not on the internet. */
export const reachesAddress = (matched: MatchedRoute | undefined, address: Cidr): matched is MatchedRoute =>
  matched !== undefined && matched.to !== 'blackhole' && !(matched.to === 'internet' && isInternal(address));

async function subnetRoutes(reader: NetworkReader, { ref }: NetworkLocation): Promise<MatchedRoute[]> {
  const subnets = await reader.subnetworks(ref);
  return subnets.flatMap((subnet) => {
    const via = subnet.name ?? '';
    const matched = {
      to: 'subnet',
      isSubnetRoute: true,
      priority: 0,
      via,
      description: `subnet ${via}`,
    } as const;
    return subnetRanges(subnet).flatMap((range) => withRange(matched, range));
  });
}

async function offeredRoutes(
  reader: NetworkReader,
  { ref, network, region }: NetworkLocation,
): Promise<[MatchedRoute, boolean][]> {
  const active = (network.peerings ?? []).filter(({ state }) => state === 'ACTIVE');
  const offered = await Promise.all(
    active.map(async ({ name }) => {
      const via = name ?? '';
      const routes = await reader.peeringRoutes(ref, via, region);
      return routes.flatMap((route) =>
        peeringMatch(via, route).map((matched): [MatchedRoute, boolean] => [
          matched,
          route.imported === true,
        ]),
      );
    }),
  );
  return offered.flat();
}

const peeringRouteKinds: Readonly<Record<string, string>> = {
  STATIC_PEERING_ROUTE: 'static route',
  DYNAMIC_PEERING_ROUTE: 'learned route',
};

function peeringMatch(via: string, { destRange, priority, type }: PeeringRoute): MatchedRoute[] {
  const description = peeringRouteKinds[type ?? ''];
  const of = `${description ?? 'subnet route'} of peering ${via}`;
  const matched = {
    to: 'peering',
    isSubnetRoute: !description,
    priority: priority ?? 0,
    via,
    description: of,
  } as const;
  return withRange(matched, destRange);
}

async function staticMatches(
  reader: NetworkReader,
  { ref, instance = {} }: NetworkLocation,
): Promise<MatchedRoute[]> {
  const routes = await reader.staticRoutes(ref);
  // The other two are told by subnets and peerings themselves.
  const own = routes.filter(({ nextHopNetwork, nextHopPeering }) => !nextHopNetwork && !nextHopPeering);
  return own.filter((route) => appliesTo(instance, route)).flatMap(staticMatch);
}

function staticMatch(route: ComputeRoute): MatchedRoute[] {
  const isInternet = lastSegment(route.nextHopGateway) === 'default-internet-gateway';
  const { nextHopInstance, nextHopIlb } = route;
  const via = lastSegment(nextHopInstance) || lastSegment(nextHopIlb) || nextHopName(route);
  return withRange(
    {
      to: isInternet ? 'internet' : 'next-hop',
      isSubnetRoute: false,
      priority: route.priority ?? 1_000,
      via: isInternet ? 'the default internet gateway' : via,
      description: `static route ${route.name ?? ''}`,
    },
    route.destRange,
  );
}

async function learnedMatches(
  reader: NetworkReader,
  { ref, network, region }: NetworkLocation,
): Promise<MatchedRoute[]> {
  const routes = await reader.learnedRoutes(ref, network, region);
  return routes.flatMap((route) => {
    const to = routeState(route) === 'blackhole' ? 'blackhole' : 'next-hop';
    const [via, priority] = [nextHopName(route), route.priority ?? 0];
    const description = `route learned over ${via}${to === 'blackhole' ? `, which is ${route.routeStatus ?? ''}` : ''}`;
    return withRange({ to, isSubnetRoute: false, priority, via, description }, route.destRange);
  });
}

/** None for a range that cannot be read: it could not be looked up in either. */
function withRange(matched: Omit<MatchedRoute, 'range'>, range: string | null | undefined): MatchedRoute[] {
  try {
    return range ? [{ ...matched, range: parseCidr(range) }] : [];
  } catch (thrown) {
    if (thrown instanceof CidrError) return [];
    throw thrown;
  }
}
