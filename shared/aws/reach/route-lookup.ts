import type { Route } from '@aws-sdk/client-ec2';
import { contains, type Address } from '../../core/model/cidr';
import { effectiveRouteTable } from '../discover/networks';
import { validCidrs, type NetworkReader } from './network-reader';

export interface Target {
  /** `other`: a VPN or transit gateway, an appliance, … */
  readonly kind: 'local' | 'peering' | 'internet' | 'other';
  /** `pcx-…`, `vgw-…`, `local` */
  readonly id: string;
}

/** The route for an address in a subnet. */
export interface MatchedRoute {
  readonly tableId: string;
  readonly target: Target;
  /** The CIDR or prefix list of the route. */
  readonly destination: string;
  readonly isBlackhole: boolean;
}

export interface RouteLookup {
  readonly tableId: string;
  /** Absent if the table has no route for the address. */
  readonly route?: MatchedRoute;
}

/** @returns undefined if the subnet has no readable route table */
export async function lookUpRoutes(
  reader: NetworkReader,
  location: { readonly vpcId: string; readonly subnetId?: string },
  address: Address,
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

async function matchRoute(reader: NetworkReader, route: Route, address: Address) {
  const { DestinationPrefixListId: list } = route;
  const ranges =
    list === undefined
      ? validCidrs([route.DestinationCidrBlock, route.DestinationIpv6CidrBlock])
      : await reader.prefixList(list);
  return ranges.filter((range) => contains(range, address)).map(({ prefix }) => ({ prefix, route }));
}

/** Ranks routes with the same prefix length (VPC user guide, "Route priority"). */
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
  const internetGateway = GatewayId.startsWith('igw-') ? GatewayId : undefined;
  const internet = NatGatewayId ?? EgressOnlyInternetGatewayId ?? internetGateway;
  if (internet !== undefined) return { kind: 'internet', id: internet };
  const { TransitGatewayId, InstanceId, NetworkInterfaceId, LocalGatewayId, CarrierGatewayId } = route;
  const others = [TransitGatewayId, InstanceId, NetworkInterfaceId, LocalGatewayId, CarrierGatewayId];
  const other = others.find((id) => id !== undefined) ?? route.CoreNetworkArn;
  return { kind: 'other', id: other ?? (GatewayId || 'an unknown target') };
}
