import { covers, overlaps, subtract, tryParseCidr, type Cidr } from '../model/cidr';
import type { NetworkContext } from '../model/node';
import type { NamedCidr } from '../model/rule-set';
import type { Warning } from '../reconcile/check-eligibility';
import type { DestinationRequest, ParsedRoute } from './requests';

/** Routes by whether packets with the node's own address take them. */
export interface RoutesBySubnet {
  readonly usable: readonly ParsedRoute[];
  /** Parts of ranges that only the subnets of the node's other interfaces route. */
  readonly unusable: readonly ParsedRoute[];
}

/**
 * Pods with VPC addresses (VPC CNI) leave by an interface in their own subnet. With the address of that
 * interface they are no more reachable than with their own, so their packets are steered to the primary interface, and
 * there only the routes of its subnet count. Pods of an overlay network leave where the kernel's routes lead, and get
 * the address of that interface.
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

/** Ranges that must not be masqueraded even though a wider range is. */
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
    detail: `${describeUnusable(one)} It is not masqueraded. If the peer has no route to the pods, add it to the node's subnet.`,
  }));
}
