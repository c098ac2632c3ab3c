import type { protos } from '@google-cloud/compute';
import type { Cidr } from '../../core/model/cidr';
import type { Route } from '../../core/model/node';
import { isInternalRange } from '../../core/model/reserved-ranges';
import type { Deadline } from '../../core/cloud';
import { memoize } from '../../core/util/functional';
import { call, listAll, mapLimited } from '../client/call';
import type { Clients } from '../client/clients';

/**
 * Interprets the fields of networks, subnetworks and routes. The inventory at the end of this file reads these
 * resources from the API.
 */

export type Instance = protos.google.cloud.compute.v1.IInstance;
export type Network = protos.google.cloud.compute.v1.INetwork;
export type Subnetwork = protos.google.cloud.compute.v1.ISubnetwork;
export type Router = protos.google.cloud.compute.v1.IRouter;
export type ComputeRoute = protos.google.cloud.compute.v1.IRoute;
export type PeeringRoute = protos.google.cloud.compute.v1.IExchangedPeeringRoute;

/** A network, and the project that owns it. With Shared VPC, the owner is the host project, not the node's project. */
export interface NetworkRef {
  readonly project: string;
  readonly network: string;
}

const networkUrl = /\/projects\/([a-z0-9.:-]+)\/global\/networks\/([a-z0-9-]+)$/;

/** Returns undefined if the URL does not belong to a network. */
export function parseNetworkUrl(url: string | null | undefined): NetworkRef | undefined {
  const [, project, network] = networkUrl.exec(url ?? '') ?? [];
  return project !== undefined && network !== undefined ? { project, network } : undefined;
}

export const networkOf = ({ networkInterfaces }: Instance): NetworkRef | undefined =>
  parseNetworkUrl(networkInterfaces?.[0]?.network);

export const networkKey = ({ project, network }: NetworkRef): string => `${project}/${network}`;

export const isInNetwork = ({ project, network }: NetworkRef, url: string | null | undefined): boolean =>
  url?.endsWith(`/projects/${project}/global/networks/${network}`) === true;

/** Returns the last part of a resource's URL, which is the resource's name. */
export const lastSegment = (url: string | null | undefined): string => url?.split('/').at(-1) ?? '';

export const regionOf = (zone: string): string => zone.slice(0, zone.lastIndexOf('-'));

/** Returns the ranges of a subnetwork as the API prints them: primary, secondary and IPv6 ranges. */
export const subnetRanges = (subnet: Subnetwork): string[] =>
  [
    subnet.ipCidrRange,
    subnet.internalIpv6Prefix,
    subnet.externalIpv6Prefix,
    ...(subnet.secondaryIpRanges ?? []).map(({ ipCidrRange }) => ipCidrRange),
  ].filter((range): range is string => Boolean(range));

/**
 * Whether a range is private. Peerings exchange subnet routes, including those for secondary ranges, but not routes for
 * privately used public addresses (https://cloud.google.com/vpc/docs/vpc-peering#subnet-routes).
 */
export const isPrivate = (range: Cidr): boolean => range.family === 4 && isInternalRange(range);

/**
 * Whether a route applies to an instance. A route with tags applies only to instances that have at least one of these
 * tags (https://cloud.google.com/vpc/docs/routes).
 */
export const appliesTo = ({ tags }: Instance, { tags: routeTags }: ComputeRoute): boolean =>
  !routeTags?.length || routeTags.some((tag) => tags?.items?.includes(tag));

export function nextHopName(route: ComputeRoute): string {
  const { nextHopVpnTunnel, nextHopInterconnectAttachment, nextHopIp, name } = route;
  const names = [lastSegment(nextHopVpnTunnel), lastSegment(nextHopInterconnectAttachment), nextHopIp, name];
  return names.find((text) => text) ?? 'unnamed';
}

/** Returns the state of a route. The API returns a status only for routes that are not simply active. */
export function routeState({ routeStatus }: ComputeRoute): Route['state'] {
  if (routeStatus === 'PENDING') return 'provisioning';
  return routeStatus === 'DROPPED' || routeStatus === 'INACTIVE' ? 'blackhole' : 'active';
}

/** Networks with their ranges and routes. Each value is read once, on first use. */
export type NetworkInventory = ReturnType<typeof makeNetworkInventory>;

export function makeNetworkInventory(clients: Clients, deadline: Deadline) {
  const reading = { clients, deadline };
  const networks = memoize((ref: NetworkRef) => readNetwork(reading, ref), networkKey);
  const subnetworks = memoize((project: string) => listSubnetworks(reading, project));
  const staticRoutes = memoize((project: string) => listRoutes(reading, project));
  const routers = memoize((project: string) => listRouters(reading, project));
  const peeringRoutes = memoize(
    (peering: Peering) => listPeeringRoutes(reading, peering),
    (peering) => `${networkKey(peering)}/${peering.peeringName}/${peering.region}`,
  );
  const learnedRoutes = memoize(
    async ({ ref, network, region }: RegionalNetwork) => {
      const own = (await routers(ref.project)).filter((router) => isInNetwork(ref, router.network));
      return readLearnedRoutes(reading, ref.project, routersFor(region, network, own));
    },
    ({ ref, region }) => `${networkKey(ref)}/${region}`,
  );
  return {
    network: networks,
    subnetworks: async (ref: NetworkRef) =>
      (await subnetworks(ref.project)).filter(({ network }) => isInNetwork(ref, network)),
    /** The routes that a peering offers in a region, whether or not they are imported. */
    peeringRoutes: (ref: NetworkRef, peeringName: string, region: string) =>
      peeringRoutes({ ...ref, peeringName, region }),
    staticRoutes: async (ref: NetworkRef) =>
      (await staticRoutes(ref.project)).filter(({ network }) => isInNetwork(ref, network)),
    /** The routes that Cloud Routers learned over VPN and Interconnect, limited to those that the region uses. */
    learnedRoutes: (ref: NetworkRef, network: Network, region: string) =>
      learnedRoutes({ ref, network, region }),
  };
}

interface Peering extends NetworkRef {
  readonly peeringName: string;
  readonly region: string;
}

interface RegionalNetwork {
  readonly ref: NetworkRef;
  readonly network: Network;
  readonly region: string;
}

interface Reading {
  readonly clients: Clients;
  readonly deadline: Deadline;
}

const pageSize = 500;

function readNetwork({ clients, deadline }: Reading, { project, network }: NetworkRef): Promise<Network> {
  return call(`read network ${network} of ${project}`, deadline, async (options) => {
    const client = await clients.networks();
    return (await client.get({ project, network }, options))[0];
  });
}

function listSubnetworks({ clients, deadline }: Reading, project: string): Promise<Subnetwork[]> {
  return listAll({
    action: `list the subnetworks of ${project}`,
    deadline,
    list: async (options) => {
      const client = await clients.subnetworks();
      return client.aggregatedListAsync({ project, maxResults: pageSize }, options);
    },
    toItems: ([, { subnetworks }]) => subnetworks ?? [],
  });
}

function listPeeringRoutes({ clients, deadline }: Reading, peering: Peering): Promise<PeeringRoute[]> {
  return listAll({
    action: `list the routes of peering ${peering.peeringName}`,
    deadline,
    list: async (options) => {
      const client = await clients.networks();
      const request = { ...peering, direction: 'INCOMING', maxResults: pageSize };
      return client.listPeeringRoutesAsync(request, options);
    },
    toItems: (route) => [route],
  });
}

function listRoutes({ clients, deadline }: Reading, project: string): Promise<ComputeRoute[]> {
  return listAll({
    action: `list the routes of ${project}`,
    deadline,
    list: async (options) => {
      const client = await clients.routes();
      return client.listAsync({ project, maxResults: pageSize }, options);
    },
    toItems: (route) => [route],
  });
}

function listRouters({ clients, deadline }: Reading, project: string): Promise<Router[]> {
  return listAll({
    action: `list the routers of ${project}`,
    deadline,
    list: async (options) => {
      const client = await clients.routers();
      return client.aggregatedListAsync({ project, maxResults: pageSize }, options);
    },
    toItems: ([, { routers }]) => routers ?? [],
  });
}

/**
 * Returns the routers whose routes a region uses. A router reports the best routes of its whole network from the
 * viewpoint of its own region. Google does not document what a router without BGP reports, so all routers are read.
 * With global routing, that includes the routers of other regions.
 */
function routersFor(region: string, { routingConfig }: Network, routers: readonly Router[]): Router[] {
  const isGlobal = routingConfig?.routingMode === 'GLOBAL';
  return routers.filter((router) => isGlobal || lastSegment(router.region) === region);
}

async function readLearnedRoutes(
  { clients, deadline }: Reading,
  project: string,
  routers: readonly Router[],
): Promise<ComputeRoute[]> {
  const learned = await mapLimited(routers, ({ name, region }) =>
    call(`read the routes that router ${name ?? ''} learned`, deadline, async (options) => {
      const client = await clients.routers();
      const request = { project, region: lastSegment(region), router: name ?? '' };
      const [{ result }] = await client.getRouterStatus(request, options);
      return result?.bestRoutes ?? [];
    }),
  );
  return learned.flat();
}
