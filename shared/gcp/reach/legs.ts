import { isInternal } from '../../core/reserved';
import { CidrError, contains, parseCidr, type Cidr } from '../../core/cidr';
import { lastOf, type Instance } from '../instance';
import type { ComputeRoute, PeeringRoute } from '../look-ups';
import { rangesOf, type Network, type NetworkRef } from '../network';
import { hopOf, isFor, stateOf } from '../vpn';
import type { View } from './view';

/** Where routes are looked at from. */
export interface Place {
  readonly ref: NetworkRef;
  readonly network: Network;
  readonly region: string;
  /** Routes with tags are for instances that have one; for nobody where it is not known who it is. */
  readonly instance?: Instance;
}

/** A route of a network that holds an address. */
export interface Leg {
  readonly to: 'subnet' | 'peering' | 'internet' | 'hop' | 'nowhere';
  readonly range: Cidr;
  /** Subnet routes count before all others, and are exchanged with whoever is peered. */
  readonly isSubnetRoute: boolean;
  readonly priority: number;
  /** Name of the subnet, peering or next hop. */
  readonly via: string;
  /** `static route to-vpn`: what it is, for people. */
  readonly kind: string;
}

export interface Legs {
  /** What a packet takes. */
  readonly best?: Leg;
  /** What peerings offer, and the network does not import. */
  readonly refused: readonly Leg[];
}

/**
 * The routes of a network that hold an address, as it chooses among them: those of subnets, own and peered, then the
 * narrowest, then by priority (https://cloud.google.com/vpc/docs/routes#routeselection).
 */
export async function legsTo(view: View, place: Place, address: Cidr): Promise<Legs> {
  const isHeld = ({ range }: Leg) => contains(range, address);
  const subnets = (await subnetLegs(view, place)).filter(isHeld);
  const offered = (await offeredLegs(view, place)).filter(([leg]) => isHeld(leg));
  const imported = offered.flatMap(([leg, isImported]) => (isImported ? [leg] : []));
  const refused = offered.flatMap(([leg, isImported]) => (isImported ? [] : [leg]));
  const fixed = [...subnets, ...imported.filter(({ isSubnetRoute }) => isSubnetRoute)];
  // Nothing else counts beside them, so it need not be permitted to see more.
  const others =
    fixed.length > 0 ? [] : [...(await staticLegs(view, place)), ...(await learnedLegs(view, place))];
  const [best] = [...fixed, ...others.filter(isHeld), ...imported].toSorted(byPreference);
  return { ...(best && { best }), refused };
}

const byPreference = (a: Leg, b: Leg): number =>
  Number(b.isSubnetRoute) - Number(a.isSubnetRoute) ||
  b.range.prefix - a.range.prefix ||
  a.priority - b.priority;

/** It leads to somebody: internal addresses are not on the internet. */
export const leadsTo = (leg: Leg | undefined, address: Cidr): leg is Leg =>
  leg !== undefined && leg.to !== 'nowhere' && !(leg.to === 'internet' && isInternal(address));

async function subnetLegs(view: View, { ref }: Place): Promise<Leg[]> {
  const subnets = await view.subnetworks(ref);
  return subnets.flatMap((subnet) => {
    const via = subnet.name ?? '';
    const leg = { to: 'subnet', isSubnetRoute: true, priority: 0, via, kind: `subnet ${via}` } as const;
    return rangesOf(subnet).flatMap((range) => withRange(leg, range));
  });
}

async function offeredLegs(view: View, { ref, network, region }: Place): Promise<[Leg, boolean][]> {
  const active = (network.peerings ?? []).filter(({ state }) => state === 'ACTIVE');
  const offered = await Promise.all(
    active.map(async ({ name }) => {
      const via = name ?? '';
      const routes = await view.peeringRoutes(ref, via, region);
      return routes.flatMap((route) =>
        peeringLeg(via, route).map((leg): [Leg, boolean] => [leg, route.imported === true]),
      );
    }),
  );
  return offered.flat();
}

const kindsOfPeered: Readonly<Record<string, string>> = {
  STATIC_PEERING_ROUTE: 'static route',
  DYNAMIC_PEERING_ROUTE: 'learned route',
};

function peeringLeg(via: string, { destRange, priority, type }: PeeringRoute): Leg[] {
  const kind = kindsOfPeered[type ?? ''];
  const of = `${kind ?? 'subnet route'} of peering ${via}`;
  const leg = { to: 'peering', isSubnetRoute: !kind, priority: priority ?? 0, via, kind: of } as const;
  return withRange(leg, destRange);
}

async function staticLegs(view: View, { ref, instance = {} }: Place): Promise<Leg[]> {
  const routes = await view.staticRoutes(ref);
  // The other two are told by subnets and peerings themselves.
  const own = routes.filter(({ nextHopNetwork, nextHopPeering }) => !nextHopNetwork && !nextHopPeering);
  return own.filter((route) => isFor(instance, route)).flatMap(staticLeg);
}

function staticLeg(route: ComputeRoute): Leg[] {
  const isInternet = lastOf(route.nextHopGateway) === 'default-internet-gateway';
  const { nextHopInstance, nextHopIlb } = route;
  const via = lastOf(nextHopInstance) || lastOf(nextHopIlb) || hopOf(route);
  return withRange(
    {
      to: isInternet ? 'internet' : 'hop',
      isSubnetRoute: false,
      priority: route.priority ?? 1_000,
      via: isInternet ? 'the default internet gateway' : via,
      kind: `static route ${route.name ?? ''}`,
    },
    route.destRange,
  );
}

async function learnedLegs(view: View, { ref, network, region }: Place): Promise<Leg[]> {
  const routes = await view.learnedRoutes(ref, network, region);
  return routes.flatMap((route) => {
    const to = stateOf(route) === 'blackhole' ? 'nowhere' : 'hop';
    const [via, priority] = [hopOf(route), route.priority ?? 0];
    const kind = `route learned over ${via}${to === 'nowhere' ? `, which is ${route.routeStatus ?? ''}` : ''}`;
    return withRange({ to, isSubnetRoute: false, priority, via, kind }, route.destRange);
  });
}

/** None for a range that cannot be read: it could not be looked up in either. */
function withRange(leg: Omit<Leg, 'range'>, range: string | null | undefined): Leg[] {
  try {
    return range ? [{ ...leg, range: parseCidr(range) }] : [];
  } catch (thrown) {
    if (thrown instanceof CidrError) return [];
    throw thrown;
  }
}
