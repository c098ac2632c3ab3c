import { isInternal } from '../../core/model/reserved-ranges';
import { contains, tryParseCidr, type Address, type Cidr } from '../../core/model/cidr';
import { definedOnly } from '../../core/util/collections';
import {
  appliesTo,
  lastSegment,
  networkKey,
  nextHopName,
  routeState,
  subnetRanges,
  type ComputeRoute,
  type Instance,
  type Network,
  type NetworkRef,
  type PeeringRoute,
} from '../discover/networks';
import type { NetworkReader } from './network-reader';

/** The location in the network for which routes are looked up. */
export interface NetworkLocation {
  readonly ref: NetworkRef;
  readonly network: Network;
  readonly region: string;
  /** The instance that sends the packet. If it is unknown, routes with tags do not apply. */
  readonly instance?: Instance;
}

/** The route that a network uses for an address. */
export interface MatchedRoute {
  readonly targetKind: 'subnet' | 'peering' | 'internet' | 'next-hop' | 'blackhole';
  readonly range: Cidr;
  /**
   * Whether the route belongs to a subnet. Subnet routes take precedence over all other routes, and peerings always
   * exchange them.
   */
  readonly isSubnetRoute: boolean;
  readonly priority: number;
  /** The name of the subnet, peering or next hop. */
  readonly via: string;
  /** `static route to-vpn` */
  readonly description: string;
}

export interface CandidateRoutes {
  /** The route that a packet takes. */
  readonly best?: MatchedRoute;
  /** Routes that a peering offers but that the network does not import. */
  readonly notImported: readonly MatchedRoute[];
}

/**
 * Returns the network's routes for an address. Subnet routes, both local and peered, come first, then the longest
 * match, then the priority (https://cloud.google.com/vpc/docs/routes#routeselection).
 */
export async function lookUpRoutes(
  reader: NetworkReader,
  location: NetworkLocation,
  address: Address,
): Promise<CandidateRoutes> {
  const containsAddress = ({ range }: MatchedRoute) => contains(range, address);
  const subnets = (await subnetRoutes(reader, location)).filter(containsAddress);
  const offered = (await offeredRoutes(reader, location)).filter(({ route }) => containsAddress(route));
  const imported = offered.filter(({ isImported }) => isImported).map(({ route }) => route);
  const notImported = offered.filter(({ isImported }) => !isImported).map(({ route }) => route);
  const subnetMatches = [...subnets, ...imported.filter(({ isSubnetRoute }) => isSubnetRoute)];
  // Subnet routes take precedence. If there is a subnet route, there is no need to read other routes, or to
  // have permission to read them.
  const others =
    subnetMatches.length > 0
      ? []
      : [...(await staticMatches(reader, location)), ...(await learnedMatches(reader, location))];
  const [best] = [...subnetMatches, ...others.filter(containsAddress), ...imported].toSorted(byPreference);
  return definedOnly({ best, notImported });
}

const byPreference = (a: MatchedRoute, b: MatchedRoute): number =>
  Number(b.isSubnetRoute) - Number(a.isSubnetRoute) ||
  b.range.prefix - a.range.prefix ||
  a.priority - b.priority;

/**
 * Whether a route leads to the address. A blackhole route does not, nor does an internet route lead to an internal
 * address.
 */
export const reachesAddress = (route: MatchedRoute | undefined, address: Address): route is MatchedRoute =>
  route !== undefined &&
  route.targetKind !== 'blackhole' &&
  !(route.targetKind === 'internet' && isInternal(address));

/** `10.193.0.0/16 through peering to-backend (subnet route)` */
export function formatRoute({ range, targetKind, via, description }: MatchedRoute): string {
  if (targetKind === 'subnet') return `${range.text} locally (${description})`;
  return `${range.text} through ${targetKind === 'peering' ? 'peering ' : ''}${via} (${description})`;
}

/** `Network shop/vpc-a routes 10.193.0.0/16 locally (subnet backend).` */
export const routeEvidence = (ref: NetworkRef, route: MatchedRoute): string =>
  `Network ${networkKey(ref)} routes ${formatRoute(route)}.`;

async function subnetRoutes(reader: NetworkReader, { ref }: NetworkLocation): Promise<MatchedRoute[]> {
  const subnets = await reader.subnetworks(ref);
  return subnets.flatMap((subnet) => {
    const via = subnet.name ?? '';
    const route = {
      targetKind: 'subnet',
      isSubnetRoute: true,
      priority: 0,
      via,
      description: `subnet ${via}`,
    } as const;
    return subnetRanges(subnet).flatMap((range) => withRange(route, range));
  });
}

interface OfferedRoute {
  readonly route: MatchedRoute;
  readonly isImported: boolean;
}

async function offeredRoutes(
  reader: NetworkReader,
  { ref, network, region }: NetworkLocation,
): Promise<OfferedRoute[]> {
  const active = (network.peerings ?? []).filter(({ state }) => state === 'ACTIVE');
  const offered = await Promise.all(
    active.map(async ({ name }) => {
      const via = name ?? '';
      const routes = await reader.peeringRoutes(ref, via, region);
      return routes.flatMap((offer) =>
        peeringMatch(via, offer).map((route) => ({ route, isImported: offer.imported === true })),
      );
    }),
  );
  return offered.flat();
}

const peeringRouteTypes: Readonly<Record<string, string>> = {
  STATIC_PEERING_ROUTE: 'static route',
  DYNAMIC_PEERING_ROUTE: 'learned route',
};

function peeringMatch(via: string, { destRange, priority, type }: PeeringRoute): MatchedRoute[] {
  const customType = peeringRouteTypes[type ?? ''];
  const route = {
    targetKind: 'peering',
    isSubnetRoute: customType === undefined,
    priority: priority ?? 0,
    via,
    description: customType ?? 'subnet route',
  } as const;
  return withRange(route, destRange);
}

async function staticMatches(
  reader: NetworkReader,
  { ref, instance = {} }: NetworkLocation,
): Promise<MatchedRoute[]> {
  const routes = await reader.staticRoutes(ref);
  // The list also contains subnet and peering routes. They are ignored here, because the subnets and peerings
  // themselves have more precise data.
  const own = routes.filter(({ nextHopNetwork, nextHopPeering }) => !nextHopNetwork && !nextHopPeering);
  return own.filter((route) => appliesTo(instance, route)).flatMap(staticMatch);
}

function staticMatch(route: ComputeRoute): MatchedRoute[] {
  const isInternet = lastSegment(route.nextHopGateway) === 'default-internet-gateway';
  const { nextHopInstance, nextHopIlb } = route;
  const nextHop = lastSegment(nextHopInstance) || lastSegment(nextHopIlb) || nextHopName(route);
  return withRange(
    {
      targetKind: isInternet ? 'internet' : 'next-hop',
      isSubnetRoute: false,
      priority: route.priority ?? 1_000,
      via: isInternet ? 'the default internet gateway' : nextHop,
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
    const isBlackhole = routeState(route) === 'blackhole';
    return withRange(
      {
        targetKind: isBlackhole ? 'blackhole' : 'next-hop',
        isSubnetRoute: false,
        priority: route.priority ?? 0,
        via: nextHopName(route),
        description: isBlackhole ? `learned route, ${route.routeStatus ?? ''}` : 'learned route',
      },
      route.destRange,
    );
  });
}

/**
 * Returns an empty list if the range is missing or invalid, because a route without a valid range matches no address.
 */
function withRange(route: Omit<MatchedRoute, 'range'>, destRange: string | null | undefined): MatchedRoute[] {
  const range = tryParseCidr(destRange ?? '');
  return range ? [{ ...route, range }] : [];
}
