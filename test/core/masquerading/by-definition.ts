import {
  contains,
  covers,
  mergeCidrs,
  overlaps,
  subtract,
  tryParseCidr,
  type Cidr,
} from '../../../shared/core/model/cidr';
import type { RouteSourceKind } from '../../../shared/core/model/node';
import { cloudServices, reservedReason } from '../../../shared/core/model/reserved-ranges';
import type { Case } from './arbitrary';

/**
 * Returns whether a pod's packet needs masquerading. The definition is applied literally to a single packet, without
 * computing the ranges of a rule set.
 */
export function needsMasquerading({ cluster, networkContext, pod, destination }: Case): boolean {
  const { masquerade, services, except } = cluster;
  const { networkRanges, routedPodRanges, routes } = networkContext;
  const pods = [...cluster.pods, ...networkContext.podRanges];
  const isIn = (ranges: readonly Cidr[]) => ranges.some((range) => contains(range, destination));
  const podsOfFamily = pods.filter(({ family }) => family === destination.family);

  if (pods.length > 0 && !pods.some((range) => contains(range, pod))) return false;
  if (isIn([...pods, ...services, ...except, ...cloudServices.map(({ cidr }) => cidr)])) return false;

  const isUsable = (range: Cidr) =>
    reservedReason(range) === undefined && (pods.length === 0 || podsOfFamily.length > 0);
  const entries = masquerade.flatMap((entry) => (typeof entry === 'string' ? [] : [entry]));
  const entriesTo = entries.filter(({ cidr }) => isUsable(cidr) && contains(cidr, destination));
  const forcedEntries = entriesTo.filter(({ evenIfRouted }) => evenIfRouted);

  const ownNetwork = mergeCidrs(networkRanges);
  const isAllowedInside = forcedEntries.some(
    ({ cidr }) => podsOfFamily.length > 0 && ownNetwork.some((own) => covers(own, cidr)),
  );
  const isRequested = (kind: RouteSourceKind) =>
    masquerade.includes(kind) || (kind === 'peering-transit' && masquerade.includes('peerings'));
  const requested = routes
    .filter(({ kind, state }) => state === 'active' && isRequested(kind))
    .flatMap((route) => {
      const cidr = tryParseCidr(route.destination);
      return cidr ? [{ ...route, cidr }] : [];
    });
  const areInVpc = pods.some((range) => networkRanges.some((own) => overlaps(own, range)));
  const ofNode = requested.filter(({ onlyInSubnets }) => !areInVpc || !onlyInSubnets);
  const isEveryPodRouted =
    podsOfFamily.length > 0 && podsOfFamily.every((range) => subtract(range, routedPodRanges).length === 0);
  const needed = ofNode.filter(({ peerRoutesPods }) => !peerRoutesPods || !isEveryPodRouted);

  const ranges = [...entries, ...needed].map(({ cidr }) => cidr);
  const isLost = requested.some(
    (route) =>
      areInVpc &&
      route.onlyInSubnets &&
      contains(route.cidr, destination) &&
      ranges.some((range) => covers(range, route.cidr)) &&
      !ofNode.some(({ cidr }) => covers(route.cidr, cidr) && contains(cidr, destination)),
  );
  if (isLost || (isIn(networkRanges) && !isAllowedInside)) return false;
  if (forcedEntries.length > 0) return true;
  const isToDestination = ({ cidr }: { readonly cidr: Cidr }) => contains(cidr, destination);
  if (isEveryPodRouted && ofNode.some((route) => route.peerRoutesPods && isToDestination(route)))
    return false;
  return entriesTo.length > 0 || needed.some((route) => isUsable(route.cidr) && isToDestination(route));
}
