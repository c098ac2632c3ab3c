import { invalid, notFound } from './compute-input';
import {
  aggregated,
  aggregatedQuery,
  filtered,
  inProject,
  listQuery,
  page,
  type Call,
  type Method,
} from './compute-method';
import {
  networkResource,
  routeResource,
  routerResource,
  routerStatusResource,
  subnetworkResource,
} from './compute-resources';
import { networkUrl, type GoogleCloud, type Network, type Router } from './state';

export const networkMethods = (cloud: GoogleCloud): Method[] => [
  {
    name: 'compute.networks.get',
    verb: 'GET',
    path: 'projects/{project}/global/networks/{network}',
    query: [],
    handle: (call) => networkResource(networkOf(cloud, call)),
  },
  {
    name: 'compute.networks.listPeeringRoutes',
    verb: 'GET',
    path: 'projects/{project}/global/networks/{network}/listPeeringRoutes',
    query: [...listQuery, 'peeringName', 'region', 'direction'],
    handle: (call) => peeringRoutes(cloud, call),
  },
  {
    name: 'compute.routes.list',
    verb: 'GET',
    path: 'projects/{project}/global/routes',
    query: listQuery,
    handle: (call) => staticRoutes(cloud, call),
  },
  {
    name: 'compute.subnetworks.aggregatedList',
    verb: 'GET',
    path: 'projects/{project}/aggregated/subnetworks',
    query: aggregatedQuery,
    handle: (call) =>
      aggregated(cloud, call, cloud.subnetworks, 'subnetworks', regionScope, subnetworkResource),
  },
  {
    name: 'compute.routers.aggregatedList',
    verb: 'GET',
    path: 'projects/{project}/aggregated/routers',
    query: aggregatedQuery,
    handle: (call) => aggregated(cloud, call, cloud.routers, 'routers', regionScope, routerResource),
  },
  {
    name: 'compute.routers.getRouterStatus',
    verb: 'GET',
    path: 'projects/{project}/regions/{region}/routers/{router}/getRouterStatus',
    query: [],
    handle: (call) => routerStatusResource(routerOf(cloud, call)),
  },
];

const regionScope = ({ region }: { readonly region: string }): string => `regions/${region}`;

export function networkOf(cloud: GoogleCloud, { params }: Call): Network {
  const { project = '', network = '' } = params;
  inProject(cloud, project);
  const found = cloud.networks.find((one) => one.project === project && one.name === network);
  if (!found) throw notFound(`projects/${project}/global/networks/${network}`);
  return found;
}

function routerOf(cloud: GoogleCloud, { params }: Call): Router {
  const { project = '', region = '', router = '' } = params;
  inProject(cloud, project);
  const found = cloud.routers.find(
    (one) => one.project === project && one.region === region && one.name === router,
  );
  if (!found) throw notFound(`projects/${project}/regions/${region}/routers/${router}`);
  return found;
}

function peeringRoutes(cloud: GoogleCloud, call: Call): unknown {
  const { query } = call;
  const network = networkOf(cloud, call);
  const [name = '', region = '', direction] = ['peeringName', 'region', 'direction'].map(
    (key) => query.get(key) ?? '',
  );
  if (direction !== 'INCOMING') throw invalid(`Invalid value for field 'direction': '${direction}'.`);
  const peering = network.peerings.find((one) => one.name === name);
  if (!peering) throw invalid(`Invalid value for field 'peeringName': '${name}'. There is no such peering.`);
  const routes = peering.state === 'ACTIVE' ? (network.routes[`${name}/${region}`] ?? []) : [];
  const { part, ...next } = page(cloud, routes, query);
  return { kind: 'compute#exchangedPeeringRoutesList', items: part, ...next };
}

function staticRoutes(cloud: GoogleCloud, { params, query }: Call): unknown {
  const { project = '' } = params;
  inProject(cloud, project);
  const own = cloud.routes.filter((route) => route.project === project);
  const routes = filtered(own, query, { network: (route) => [networkUrl(project, route.network)] });
  const { part, ...next } = page(cloud, routes, query);
  return { kind: 'compute#routeList', items: part.map(routeResource), ...next };
}
