import type { Route } from '@aws-sdk/client-ec2';
import { contains, type Cidr } from '../../core/model/cidr';
import { effectiveRouteTable } from '../discover/networks';
import { cidrsIn, type NetworkReader } from './network-reader';

/** What a route leads to. `beyond` is whatever else than this VPC, a peering and the internet. */
export interface Target {
  readonly kind: 'local' | 'peering' | 'internet' | 'other';
  /** `pcx-…`, `vgw-…`, `local` */
  readonly id: string;
}

/** The route that a subnet uses for an address. */
export interface MatchedRoute {
  readonly tableId: string;
  readonly target: Target;
  /** The range, or the prefix list, as the route has it. */
  readonly destination: string;
  readonly isBlackhole: boolean;
}

/** A table without a hop has no route for the address. */
export interface RouteLookup {
  readonly tableId: string;
  readonly route?: MatchedRoute;
}

/** @returns undefined where no table of the subnet can be seen */
export async function lookUpRoutes(
  reader: NetworkReader,
  location: { readonly vpcId: string; readonly subnetId?: string },
  address: Cidr,
): Promise<RouteLookup | undefined> {
  const table = effectiveRouteTable(location, await reader.tables(location.vpcId));
  if (!table) return undefined;
  const { RouteTableId: tableId = '', Routes = [] } = table;
  const matches = await Promise.all(Routes.map((route) => matchRoute(reader, route, address)));
  const [best] = matches
    .flat()
    .sort((a, b) => b.prefix - a.prefix || routePriority(a.route) - routePriority(b.route));
  return best ? { tableId, route: toMatchedRoute(tableId, best.route) } : { tableId };
}

async function matchRoute(reader: NetworkReader, route: Route, address: Cidr) {
  const { DestinationPrefixListId: list } = route;
  const ranges =
    list === undefined
      ? cidrsIn([route.DestinationCidrBlock, route.DestinationIpv6CidrBlock])
      : await reader.prefixList(list);
  return ranges.filter((range) => contains(range, address)).map(({ prefix }) => ({ prefix, route }));
}

/** Among routes to the same range (VPC user guide, "Route priority"). */
function routePriority(route: Route): number {
  if (route.GatewayId === 'local') return 0;
  if (route.Origin === 'EnableVgwRoutePropagation') return 3;
  return route.DestinationPrefixListId === undefined ? 1 : 2;
}

const toMatchedRoute = (tableId: string, route: Route): MatchedRoute => ({
  tableId,
  target: targetOf(route),
  destination:
    route.DestinationCidrBlock ?? route.DestinationIpv6CidrBlock ?? route.DestinationPrefixListId ?? '',
  isBlackhole: route.State === 'blackhole',
});

function targetOf(route: Route): Target {
  const { GatewayId = '', VpcPeeringConnectionId, NatGatewayId, EgressOnlyInternetGatewayId } = route;
  if (GatewayId === 'local') return { kind: 'local', id: GatewayId };
  if (VpcPeeringConnectionId !== undefined) return { kind: 'peering', id: VpcPeeringConnectionId };
  const outside = NatGatewayId ?? EgressOnlyInternetGatewayId ?? (GatewayId.startsWith('igw-') && GatewayId);
  if (outside) return { kind: 'internet', id: outside };
  const { TransitGatewayId, InstanceId, NetworkInterfaceId, LocalGatewayId, CarrierGatewayId } = route;
  const others = [TransitGatewayId, InstanceId, NetworkInterfaceId, LocalGatewayId, CarrierGatewayId];
  const other = others.find((id) => id !== undefined) ?? route.CoreNetworkArn;
  return { kind: 'other', id: other ?? (GatewayId || 'an unknown target') };
}
