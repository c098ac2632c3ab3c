import type { Connection } from '../../core/doctor/check';
import { isInternal } from '../../core/model/reserved-ranges';
import { undefinedIfDenied } from './access-denied';
import type { NetworkReader } from './network-reader';
import { choosePeering, toPeering, type Home, type Peering } from './peerings';
import type { MatchedRoute, RouteLookup } from './route-lookup';

/** How the node's VPC routes to the destination, or would if everything worked. */
export type NextHop =
  | { readonly kind: 'local' }
  | { readonly kind: 'peering'; readonly peering: Peering }
  | { readonly kind: 'other'; readonly route: MatchedRoute }
  | { readonly kind: 'none' };

export interface PathStart extends Home {
  readonly connection: Connection;
  readonly subnetId: string;
  readonly instanceId: string;
  readonly local: NetworkReader;
}

export async function findNextHop(
  start: PathStart,
  forwardRoute: Promise<RouteLookup | undefined>,
): Promise<NextHop> {
  const { destination } = start.connection;
  const route = (await undefinedIfDenied(forwardRoute))?.route;
  if (route?.target.kind === 'local') return { kind: 'local' };
  if (route?.target.kind === 'other') return { kind: 'other', route };
  const vpcPeerings = await start.local.peerings(start.vpcId);
  const peerings = await Promise.all(vpcPeerings.map((one) => toPeering(one, start)));
  const routedPeeringId = route?.target.kind === 'peering' ? route.target.id : undefined;
  const peering = choosePeering(peerings, destination, routedPeeringId);
  if (peering) return { kind: 'peering', peering };
  const isInternetBound = route?.target.kind === 'internet' && !isInternal(destination);
  return isInternetBound ? { kind: 'other', route } : { kind: 'none' };
}
