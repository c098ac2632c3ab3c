import { covers, overlaps, subtract, tryParseCidr, type Cidr } from '../model/cidr';
import type { NetworkContext } from '../model/node';
import type { NamedCidr } from '../model/rule-set';
import type { Warning } from '../reconcile/check-eligibility';
import type { DestinationRequest, ParsedRoute } from './requests';

/** Routes, grouped by whether packets with the node's own address can use them. */
export interface RoutesBySubnet {
  readonly usable: readonly ParsedRoute[];
  /** Ranges that have routes only in the subnets of the node's secondary interfaces. */
  readonly unusable: readonly ParsedRoute[];
}

/**
 * Groups routes by whether masqueraded packets can use them. Pods with VPC addresses (VPC CNI) send packets through an
 * interface in their own subnet. The peer could not reply to the address of that interface any more than to the pod's
 * address. The node therefore steers such packets to its primary interface, where only the routes of the primary
 * interface's subnet apply. Packets from pods of an overlay network follow the kernel's routes and get the address of
 * the outgoing interface.
 */
export function splitBySubnet(
  routes: readonly ParsedRoute[],
  sources: readonly Cidr[],
  { networkRanges }: NetworkContext,
): RoutesBySubnet {
  const isOfVpc = (source: Cidr) => networkRanges.some((own) => overlaps(own, source));
  if (!sources.some(isOfVpc)) return { usable: routes, unusable: [] };
  const usable = routes.filter(({ route }) => !route.onlyInSubnets);
  const own = usable.map(({ cidr }) => cidr);
  return {
    usable,
    unusable: routes
      .filter(({ route }) => route.onlyInSubnets)
      .flatMap(({ cidr, route }) => {
        const moreSpecific = own.filter((range) => covers(cidr, range));
        return subtract(cidr, moreSpecific).map((part) => ({ cidr: part, route }));
      }),
  };
}

/** Returns the ranges that must not be masqueraded although they are part of a wider range that is. */
export const exemptUnusable = (
  unusable: readonly ParsedRoute[],
  requests: readonly DestinationRequest[],
): NamedCidr[] =>
  unusable
    .filter(({ route }) => {
      const whole = tryParseCidr(route.destination);
      return whole && requests.some((request) => covers(request.cidr, whole));
    })
    .map(({ cidr }) => ({ cidr, name: 'other-subnet' }));

export const describeUnusable = ({ route: { destination, via, onlyInSubnets = [] } }: ParsedRoute): string =>
  `The route to ${destination} through ${via} exists only in ${onlyInSubnets.join(', ')}, not in the subnet of the node's primary interface: packets with the node's address would be lost.`;

export function unusableWarnings(unusable: readonly ParsedRoute[]): Warning[] {
  const routes = new Map(unusable.map((one) => [one.route, one]));
  return [...routes.values()].map((one) => ({
    code: 'not-in-node-subnet',
    detail: `${describeUnusable(one)} Traffic to it is not masqueraded. If the peer has no route to the pods, add the route to the node's subnet.`,
  }));
}
