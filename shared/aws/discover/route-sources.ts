import type { Route as TableRoute } from '@aws-sdk/client-ec2';
import type { Route, RouteSourceKind } from '../../core/model/node';

/** What routes refer to by id. */
export interface RouteReferences {
  /** Status codes of peerings. */
  readonly peerings: ReadonlyMap<string, string>;
  /** Ranges of prefix lists. */
  readonly prefixLists: ReadonlyMap<string, readonly string[]>;
}

/** Undefined for a route to another target, such as an internet gateway. */
function routeSource(route: TableRoute): Pick<Route, 'kind' | 'via'> | undefined {
  const { VpcPeeringConnectionId, TransitGatewayId, GatewayId } = route;
  if (VpcPeeringConnectionId) return { kind: 'peerings', via: VpcPeeringConnectionId };
  if (TransitGatewayId) return { kind: 'transit-gateways', via: TransitGatewayId };
  if (GatewayId?.startsWith('vgw-')) return { kind: 'vpn', via: GatewayId };
  return undefined;
}

export function hasKind(route: TableRoute, kinds: readonly RouteSourceKind[]): boolean {
  const source = routeSource(route);
  return source !== undefined && kinds.includes(source.kind);
}

/** One route for each range: a route to a prefix list has many. */
export function toRoutes(route: TableRoute, { peerings, prefixLists }: RouteReferences): Route[] {
  const source = routeSource(route);
  if (!source) return [];
  const state =
    source.kind === 'peerings' ? peeringRouteState(peerings.get(source.via), route) : routeState(route);
  return destinationsOf(route, prefixLists).map((destination) => ({ ...source, destination, state }));
}

function destinationsOf(
  { DestinationCidrBlock, DestinationIpv6CidrBlock, DestinationPrefixListId }: TableRoute,
  prefixLists: RouteReferences['prefixLists'],
): readonly string[] {
  const range = DestinationCidrBlock ?? DestinationIpv6CidrBlock;
  return range === undefined ? (prefixLists.get(DestinationPrefixListId ?? '') ?? []) : [range];
}

const routeState = ({ State }: TableRoute): Route['state'] => (State === 'active' ? 'active' : 'blackhole');

/** A route can exist before its peering is active, and its own state does not always say so. */
function peeringRouteState(status: string | undefined, route: TableRoute): Route['state'] {
  if (status === 'provisioning') return 'provisioning';
  return status === 'active' ? routeState(route) : 'blackhole';
}
