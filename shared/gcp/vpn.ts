import type { Route } from '../core/node';
import { lastOf, type Instance } from './instance';
import type { ComputeRoute, LookUps } from './look-ups';
import type { Network, NetworkRef } from './network';

/** Static routes into a VPN tunnel, and what Cloud Routers have learned over VPN and Interconnect. */
export async function vpnRoutes(
  lookUps: LookUps,
  ref: NetworkRef,
  network: Network,
  region: string,
  instance: Instance,
): Promise<Route[]> {
  const [given, dynamic] = await Promise.all([
    lookUps.staticRoutes(ref),
    lookUps.learnedRoutes(ref, network, region),
  ]);
  const tunnels = given.filter((route) => route.nextHopVpnTunnel && isFor(instance, route));
  return [...tunnels, ...dynamic].flatMap(toRoute);
}

/** A route with tags is only for instances that have one of them (https://cloud.google.com/vpc/docs/routes). */
export const isFor = ({ tags }: Instance, { tags: wanted }: ComputeRoute): boolean =>
  !wanted?.length || wanted.some((tag) => tags?.items?.includes(tag));

function toRoute(route: ComputeRoute): Route[] {
  const { destRange: destination } = route;
  if (!destination) return [];
  return [{ kind: 'vpn', via: hopOf(route), destination, state: stateOf(route) }];
}

/** What a route leads into, by its name. */
export function hopOf({
  nextHopVpnTunnel,
  nextHopInterconnectAttachment,
  nextHopIp,
  name,
}: ComputeRoute): string {
  const hops = [lastOf(nextHopVpnTunnel), lastOf(nextHopInterconnectAttachment), nextHopIp, name];
  return hops.find((text) => text) ?? 'unnamed';
}

/** Told where a route is not simply there. */
export function stateOf({ routeStatus }: ComputeRoute): Route['state'] {
  if (routeStatus === 'PENDING') return 'provisioning';
  return routeStatus === 'DROPPED' || routeStatus === 'INACTIVE' ? 'blackhole' : 'active';
}
