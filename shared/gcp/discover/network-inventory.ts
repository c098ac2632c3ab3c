import type { protos } from '@google-cloud/compute';
import type { Deadline } from '../../core/cloud';
import { callOptions, mapLimited, type Clients } from '../client/clients';
import { call } from '../client/errors';
import { lastSegment } from './instance';
import { isInNetwork, networkKey, memoize, type Network, type NetworkRef, type Subnetwork } from './networks';

type Router = protos.google.cloud.compute.v1.IRouter;
export type ComputeRoute = protos.google.cloud.compute.v1.IRoute;
export type PeeringRoute = protos.google.cloud.compute.v1.IExchangedPeeringRoute;

export type NetworkInventory = ReturnType<typeof makeNetworkInventory>;

/** What is told of networks: each part is asked for when it is first needed, and once. */
export function makeNetworkInventory(clients: Clients, deadline: Deadline) {
  const networks = memoize<Network>();
  const subnetworks = memoize<Subnetwork[]>();
  const offered = memoize<PeeringRoute[]>();
  const statics = memoize<ComputeRoute[]>();
  const routers = memoize<Router[]>();
  const learned = memoize<ComputeRoute[]>();
  const routersOf = (project: string) => routers(project, () => listRouters(clients, project, deadline));
  return {
    network: (ref: NetworkRef) => networks(networkKey(ref), () => getNetwork(clients, ref, deadline)),
    subnetworks: async (ref: NetworkRef) => {
      const { project } = ref;
      const all = await subnetworks(project, () => listSubnetworks(clients, project, deadline));
      return all.filter((subnet) => isInNetwork(ref, subnet.network));
    },
    /** What a peering offers a network in a region, imported or not. */
    peeringRoutes: (ref: NetworkRef, peeringName: string, region: string) =>
      offered(`${networkKey(ref)}/${peeringName}/${region}`, () =>
        listPeeringRoutes(clients, { ...ref, peeringName, region }, deadline),
      ),
    staticRoutes: async (ref: NetworkRef) => {
      const { project } = ref;
      const all = await statics(project, () => listRoutes(clients, project, deadline));
      return all.filter((route) => isInNetwork(ref, route.network));
    },
    /** What Cloud Routers have learned over VPN and Interconnect, as far as it is in force in the region. */
    learnedRoutes: (ref: NetworkRef, network: Network, region: string) =>
      learned(`${networkKey(ref)}/${region}`, async () => {
        const own = (await routersOf(ref.project)).filter((router) => isInNetwork(ref, router.network));
        return learnedRoutes(clients, ref.project, routersFor(region, network, own), deadline);
      }),
  };
}

function getNetwork(
  clients: Clients,
  { project, network }: NetworkRef,
  deadline: Deadline,
): Promise<Network> {
  return call(`read network ${network} of ${project}`, deadline, async () => {
    const client = await clients.networks();
    const [found] = await client.get({ project, network }, callOptions(deadline));
    return found;
  });
}

function listSubnetworks(clients: Clients, project: string, deadline: Deadline): Promise<Subnetwork[]> {
  return call(`list the subnetworks of ${project}`, deadline, async () => {
    const client = await clients.subnetworks();
    const listed: Subnetwork[] = [];
    const request = { project, maxResults: 500 };
    for await (const [, { subnetworks }] of client.aggregatedListAsync(request, callOptions(deadline))) {
      listed.push(...(subnetworks ?? []));
    }
    return listed;
  });
}

function listPeeringRoutes(
  clients: Clients,
  peering: NetworkRef & { readonly peeringName: string; readonly region: string },
  deadline: Deadline,
): Promise<PeeringRoute[]> {
  return call(`list the routes of peering ${peering.peeringName}`, deadline, async () => {
    const client = await clients.networks();
    const request = { ...peering, direction: 'INCOMING', maxResults: 500 };
    const routes: PeeringRoute[] = [];
    for await (const route of client.listPeeringRoutesAsync(request, callOptions(deadline))) {
      routes.push(route);
    }
    return routes;
  });
}

/**
 * Each router tells the best routes of its whole network as its own region sees them; what one that speaks no BGP
 * tells is not documented, so all are asked. Those of other regions count where routing is global.
 */
function routersFor(region: string, { routingConfig }: Network, routers: readonly Router[]): Router[] {
  const isGlobal = routingConfig?.routingMode === 'GLOBAL';
  return routers.filter((router) => isGlobal || lastSegment(router.region) === region);
}

async function learnedRoutes(
  clients: Clients,
  project: string,
  routers: readonly Router[],
  deadline: Deadline,
): Promise<ComputeRoute[]> {
  const learned = await mapLimited(routers, ({ name, region }) =>
    call(`read what router ${name ?? ''} has learned`, deadline, async () => {
      const client = await clients.routers();
      const request = { project, region: lastSegment(region), router: name ?? '' };
      const [{ result }] = await client.getRouterStatus(request, callOptions(deadline));
      return result?.bestRoutes ?? [];
    }),
  );
  return learned.flat();
}

function listRouters(clients: Clients, project: string, deadline: Deadline): Promise<Router[]> {
  return call(`list the routers of ${project}`, deadline, async () => {
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
  return call(`list the routes of ${project}`, deadline, async () => {
    const client = await clients.routes();
    const listed: ComputeRoute[] = [];
    for await (const route of client.listAsync({ project, maxResults: 500 }, callOptions(deadline))) {
      listed.push(route);
    }
    return listed;
  });
}
