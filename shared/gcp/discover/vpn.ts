import type { Route } from '../../core/model/node';
import { lastSegment, type Instance } from './instance';
import type { ComputeRoute, NetworkInventory } from './network-inventory';
import type { Network, NetworkRef } from './networks';

/** Static routes into a VPN tunnel, and what Cloud Routers have learned over VPN and Interconnect. */
export async function vpnRoutes(
  inventory: NetworkInventory,
  ref: NetworkRef,
  network: Network,
  region: string,
  instance: Instance,
): Promise<Route[]> {
  const [staticRoutes, dynamic] = await Promise.all([
    inventory.staticRoutes(ref),
    inventory.learnedRoutes(ref, network, region),
  ]);
  const tunnels = staticRoutes.filter((route) => route.nextHopVpnTunnel && appliesTo(instance, route));
  return [...tunnels, ...dynamic].flatMap(toRoute);
}

/** A route with tags is only for instances that have one of them (https://cloud.google.com/vpc/docs/routes). */
export const appliesTo = ({ tags }: Instance, { tags: wanted }: ComputeRoute): boolean =>
  !wanted?.length || wanted.some((tag) => tags?.items?.includes(tag));

function toRoute(route: ComputeRoute): Route[] {
  const { destRange: destination } = route;
  if (!destination) return [];
  return [{ kind: 'vpn', via: nextHopName(route), destination, state: routeState(route) }];
}

/** What a route leads into, by its name. */
export function nextHopName({
  nextHopVpnTunnel,
  nextHopInterconnectAttachment,
  nextHopIp,
  name,
}: ComputeRoute): string {
  const names = [lastSegment(nextHopVpnTunnel), lastSegment(nextHopInterconnectAttachment), nextHopIp, name];
  return names.find((text) => text) ?? 'unnamed';
}

/** Told where a route is not simply there. */
export function routeState({ routeStatus }: ComputeRoute): Route['state'] {
  if (routeStatus === 'PENDING') return 'provisioning';
  return routeStatus === 'DROPPED' || routeStatus === 'INACTIVE' ? 'blackhole' : 'active';
}
