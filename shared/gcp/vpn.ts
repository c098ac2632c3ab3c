import type { protos } from '@google-cloud/compute';
import type { Route } from '../core/node';
import type { Deadline } from '../core/ports';
import { callOptions, mapLimited, type Clients } from './clients';
import { retrying } from './errors';
import { lastOf, type Instance } from './instance';
import { isOf, keyOf, once, type Network, type NetworkRef } from './network';

type Router = protos.google.cloud.compute.v1.IRouter;
type ComputeRoute = protos.google.cloud.compute.v1.IRoute;

/**
 * Static routes into a VPN tunnel, and what Cloud Routers have learned over VPN and Interconnect. A route with
 * tags is only for instances that have one of them (https://cloud.google.com/vpc/docs/routes).
 */
export function makeVpn(clients: Clients, deadline: Deadline) {
  const statics = once<ComputeRoute[]>();
  const routers = once<Router[]>();
  const learned = once<ComputeRoute[]>();

  const staticsOf = (project: string) => statics(project, () => listRoutes(clients, project, deadline));
  const routersOf = (project: string) => routers(project, () => listRouters(clients, project, deadline));
  const learnedBy = (ref: NetworkRef, network: Network, region: string) =>
    learned(`${keyOf(ref)}/${region}`, async () => {
      const own = (await routersOf(ref.project)).filter((router) => isOf(ref, router.network));
      return learnedRoutes(clients, ref.project, routersFor(region, network, own), deadline);
    });

  return async (ref: NetworkRef, network: Network, region: string, { tags }: Instance): Promise<Route[]> => {
    const [given, dynamic] = await Promise.all([staticsOf(ref.project), learnedBy(ref, network, region)]);
    const isForInstance = ({ tags: wanted }: ComputeRoute) =>
      !wanted?.length || wanted.some((tag) => tags?.items?.includes(tag));
    const own = given.filter((route) => isOf(ref, route.network) && route.nextHopVpnTunnel);
    return [...own.filter(isForInstance), ...dynamic].flatMap(toRoute);
  };
}

function toRoute(route: ComputeRoute): Route[] {
  const { destRange: destination, nextHopVpnTunnel, nextHopInterconnectAttachment, nextHopIp, name } = route;
  if (!destination) return [];
  const hops = [lastOf(nextHopVpnTunnel), lastOf(nextHopInterconnectAttachment), nextHopIp, name];
  const via = hops.find((text) => text) ?? 'unnamed';
  return [{ kind: 'vpn', via, destination, state: stateOf(route) }];
}

/** Told where a route is not simply there. */
function stateOf({ routeStatus }: ComputeRoute): Route['state'] {
  if (routeStatus === 'PENDING') return 'provisioning';
  return routeStatus === 'DROPPED' || routeStatus === 'INACTIVE' ? 'blackhole' : 'active';
}

/**
 * Each router tells the best routes of its whole network as its own region sees them; what one that speaks no BGP
 * tells is not documented, so all are asked. Those of other regions count where routing is global.
 */
function routersFor(region: string, { routingConfig }: Network, routers: readonly Router[]): Router[] {
  const isGlobal = routingConfig?.routingMode === 'GLOBAL';
  return routers.filter((router) => isGlobal || lastOf(router.region) === region);
}

async function learnedRoutes(
  clients: Clients,
  project: string,
  routers: readonly Router[],
  deadline: Deadline,
): Promise<ComputeRoute[]> {
  const learned = await mapLimited(routers, ({ name, region }) =>
    retrying(`read what router ${name ?? ''} has learned`, deadline, async () => {
      const client = await clients.routers();
      const request = { project, region: lastOf(region), router: name ?? '' };
      const [{ result }] = await client.getRouterStatus(request, callOptions(deadline));
      return result?.bestRoutes ?? [];
    }),
  );
  return learned.flat();
}

function listRouters(clients: Clients, project: string, deadline: Deadline): Promise<Router[]> {
  return retrying(`list the routers of ${project}`, deadline, async () => {
    const client = await clients.routers();
    const listed: Router[] = [];
    const request = { project, maxResults: 500 };
    for await (const [, { routers }] of client.aggregatedListAsync(request, callOptions(deadline))) {
      listed.push(...(routers ?? []));
    }
    return listed;
  });
}

function listRoutes(clients: Clients, project: string, deadline: Deadline): Promise<ComputeRoute[]> {
  return retrying(`list the routes of ${project}`, deadline, async () => {
    const client = await clients.routes();
    const listed: ComputeRoute[] = [];
    for await (const route of client.listAsync({ project, maxResults: 500 }, callOptions(deadline))) {
      listed.push(route);
    }
    return listed;
  });
}
