import { parseCidr, type Aggregate, type Cidr } from '../model/cidr';
import type { ClusterConfig } from '../model/config';
import { messageOf } from '../model/errors';
import type { Route } from '../model/node';
import { toName, type NamedCidr } from '../model/rule-set';
import type { Warning } from '../reconcile/check-eligibility';

/** A destination, and the config entry or the route that requests it. */
export interface DestinationRequest {
  readonly cidr: Cidr;
  readonly name: string;
  readonly from: 'config' | Route;
  /** Set by a config entry to masquerade even if the peer has routes to the pods. */
  readonly evenIfRouted?: boolean;
}

/** A route whose destination is a valid CIDR. */
export interface ParsedRoute {
  readonly cidr: Cidr;
  readonly route: Route;
}

export const configuredRequests = ({ masquerade }: ClusterConfig): DestinationRequest[] =>
  masquerade
    .filter((entry) => typeof entry !== 'string')
    .map(({ cidr, name, evenIfRouted }) => ({ cidr, name, evenIfRouted, from: 'config' }));

export const requestForRoute = ({ cidr, route }: ParsedRoute): DestinationRequest => ({
  cidr,
  name: toName(route.via),
  from: route,
});

/** Returns the routes that carry traffic, with a warning for each route that does not. */
export function parseRoutes(routes: readonly Route[]): {
  routes: readonly ParsedRoute[];
  warnings: readonly Warning[];
} {
  const parsed: ParsedRoute[] = [];
  const warnings: Warning[] = [];
  for (const route of routes) {
    const result = parseRoute(route);
    if ('code' in result) warnings.push(result);
    else parsed.push(result);
  }
  return { routes: parsed, warnings };
}

function parseRoute(route: Route): ParsedRoute | Warning {
  const { via, destination, state } = route;
  switch (state) {
    case 'provisioning': {
      const detail = `${via} is still being set up. Its route to ${destination} is used once it is active.`;
      return { code: 'provisioning', detail };
    }
    case 'blackhole':
      return { code: 'blackhole', detail: `The route to ${destination} through ${via} is a blackhole.` };
    case 'active':
      try {
        return { cidr: parseCidr(destination), route };
      } catch (error) {
        return {
          code: 'unreadable-route',
          detail: `Skipped a route through ${via}: ${messageOf(error)}.`,
        };
      }
  }
}

/**
 * Names a merged range after the requests for exactly this range. If there are none, the name is made from all merged
 * requests: `pcx-a/and-2-more`.
 */
export function nameRanges<T extends NamedCidr>(ranges: readonly Aggregate<T>[]): NamedCidr[] {
  return ranges.map(({ cidr, from }) => {
    const exact = from.filter((entry) => entry.cidr.text === cidr.text);
    const names = [...new Set((exact.length > 0 ? exact : from).map(({ name }) => name))].toSorted();
    const [first = '-', ...others] = names;
    if (others.length === 0) return { cidr, name: first };
    const more = `/and-${others.length}-more`;
    return { cidr, name: `${first.slice(0, 63 - more.length)}${more}` };
  });
}
