import { invalid, notFound } from './compute-input';
import {
  listAggregated,
  aggregatedQuery,
  applyFilter,
  requireProject,
  listQuery,
  paginate,
  type MethodCall,
  type Method,
} from './compute-method';
import {
  networkResource,
  routeResource,
  routerResource,
  routerStatusResource,
  subnetworkResource,
} from './compute-resources';
import { networkUrl, type GcpState, type LabNetwork, type LabRouter } from './state';

export const networkMethods = (cloud: GcpState): Method[] => [
  {
    name: 'compute.networks.get',
    verb: 'GET',
    path: 'projects/{project}/global/networks/{network}',
    query: [],
    handle: (call) => networkResource(findNetwork(cloud, call)),
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
      listAggregated(cloud, call, cloud.subnetworks, 'subnetworks', regionScope, subnetworkResource),
  },
  {
    name: 'compute.routers.aggregatedList',
    verb: 'GET',
    path: 'projects/{project}/aggregated/routers',
    query: aggregatedQuery,
    handle: (call) => listAggregated(cloud, call, cloud.routers, 'routers', regionScope, routerResource),
  },
  {
    name: 'compute.routers.getRouterStatus',
    verb: 'GET',
    path: 'projects/{project}/regions/{region}/routers/{router}/getRouterStatus',
    query: [],
    handle: (call) => routerStatusResource(findRouter(cloud, call)),
  },
];

const regionScope = ({ region }: { readonly region: string }): string => `regions/${region}`;

export function findNetwork(cloud: GcpState, { params }: MethodCall): LabNetwork {
  const { project = '', network = '' } = params;
  requireProject(cloud, project);
  const found = cloud.networks.find((one) => one.project === project && one.name === network);
  if (!found) throw notFound(`projects/${project}/global/networks/${network}`);
  return found;
}

function findRouter(cloud: GcpState, { params }: MethodCall): LabRouter {
  const { project = '', region = '', router = '' } = params;
  requireProject(cloud, project);
  const found = cloud.routers.find(
    (one) => one.project === project && one.region === region && one.name === router,
  );
  if (!found) throw notFound(`projects/${project}/regions/${region}/routers/${router}`);
  return found;
}

function peeringRoutes(cloud: GcpState, call: MethodCall): unknown {
  const { query } = call;
  const network = findNetwork(cloud, call);
  const [name = '', region = '', direction] = ['peeringName', 'region', 'direction'].map(
    (key) => query.get(key) ?? '',
  );
  if (direction !== 'INCOMING') throw invalid(`Invalid value for field 'direction': '${direction}'.`);
  const peering = network.peerings.find((one) => one.name === name);
  if (!peering) throw invalid(`Invalid value for field 'peeringName': '${name}'. There is no such peering.`);
  const routes = peering.state === 'ACTIVE' ? (network.routes[`${name}/${region}`] ?? []) : [];
  const { part, ...next } = paginate(cloud, routes, query);
  return { kind: 'compute#exchangedPeeringRoutesList', items: part, ...next };
}

function staticRoutes(cloud: GcpState, { params, query }: MethodCall): unknown {
  const { project = '' } = params;
  requireProject(cloud, project);
  const own = cloud.routes.filter((route) => route.project === project);
  const routes = applyFilter(own, query, { network: (route) => [networkUrl(project, route.network)] });
  const { part, ...next } = paginate(cloud, routes, query);
  return { kind: 'compute#routeList', items: part.map(routeResource), ...next };
}
