import type { Route } from '@aws-sdk/client-ec2';
import { contains, type Cidr } from '../../core/cidr';
import { effectiveTable } from '../networks';
import { cidrsIn, type Sight } from './sight';

/** What a route leads to. `beyond` is whatever else than this VPC, a peering and the internet. */
export interface Target {
  readonly kind: 'local' | 'peering' | 'internet' | 'beyond';
  /** `pcx-…`, `vgw-…`, `local` */
  readonly id: string;
}

/** The route that a subnet uses for an address. */
export interface Hop {
  readonly tableId: string;
  readonly target: Target;
  /** The range, or the prefix list, as the route has it. */
  readonly destination: string;
  readonly isBlackhole: boolean;
}

/** A table without a hop has no route for the address. */
export interface Lookup {
  readonly tableId: string;
  readonly hop?: Hop;
}

/** @returns undefined where no table of the subnet can be seen */
export async function lookUp(
  sight: Sight,
  place: { readonly vpcId: string; readonly subnetId?: string },
  address: Cidr,
): Promise<Lookup | undefined> {
  const table = effectiveTable(place, await sight.tables(place.vpcId));
  if (!table) return undefined;
  const { RouteTableId: tableId = '', Routes = [] } = table;
  const matches = await Promise.all(Routes.map((route) => match(sight, route, address)));
  const [best] = matches.flat().sort((a, b) => b.prefix - a.prefix || rank(a.route) - rank(b.route));
  return best ? { tableId, hop: toHop(tableId, best.route) } : { tableId };
}

async function match(sight: Sight, route: Route, address: Cidr) {
  const { DestinationPrefixListId: list } = route;
  const ranges =
    list === undefined
      ? cidrsIn([route.DestinationCidrBlock, route.DestinationIpv6CidrBlock])
      : await sight.prefixList(list);
  return ranges.filter((range) => contains(range, address)).map(({ prefix }) => ({ prefix, route }));
}

/** Among routes to the same range (VPC user guide, "Route priority"). */
function rank(route: Route): number {
  if (route.GatewayId === 'local') return 0;
  if (route.Origin === 'EnableVgwRoutePropagation') return 3;
  return route.DestinationPrefixListId === undefined ? 1 : 2;
}

const toHop = (tableId: string, route: Route): Hop => ({
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
  return { kind: 'beyond', id: other ?? (GatewayId || 'an unknown target') };
}
