import {
  aggregate,
  contains,
  covers,
  overlaps,
  parseCidr,
  subtract,
  type Aggregate,
  type Cidr,
} from '../model/cidr';
import { skip, type Skip, type Warning } from './check-eligibility';
import { requestedKinds, type ClusterConfig } from '../model/config';
import { messageOf } from '../model/errors';
import type { Node, Route, NetworkContext } from '../model/node';
import { reservedReason } from '../model/reserved-ranges';
import { printProbe, ruleSetId, toName, type NamedCidr, type RuleSet } from '../model/rule-set';

/** One thing that asked for a destination: a line of the config, or a route. */
export interface DestinationRequest {
  readonly cidr: Cidr;
  readonly name: string;
  readonly from: 'config' | Route;
}

export type Plan =
  | {
      readonly kind: 'rule-set';
      readonly ruleSet: RuleSet;
      readonly id: string;
      /** How many different ranges discovery found. */
      readonly routes: number;
      /** Where each destination of the rule set comes from. */
      readonly provenance: readonly Aggregate<DestinationRequest>[];
      readonly warnings: readonly Warning[];
    }
  | Skip
  /** Discovery found nothing, or far less, where rules are in force: they stay, and somebody should look. */
  | { readonly kind: 'hold'; readonly detail: string; readonly warnings: readonly Warning[] };

/** What the node program takes (shared/node/src). */
const destinationsLimit = 10_000;

/**
 * What one node must have in force. Pure: the same inputs give the same bytes, but for the generation.
 * @param generation milliseconds since the epoch, from before anything was looked up: of two plans the one
 *   that knows more is then the newer.
 * @param allowRouteLoss far fewer routes than before are meant: nothing is held for that
 */
export function plan(
  node: Node,
  cluster: ClusterConfig,
  networkContext: NetworkContext,
  generation: number,
  allowRouteLoss = false,
): Plan {
  const warnings: Warning[] = [];
  const pods = aggregate([...cluster.pods, ...networkContext.podRanges].map((cidr) => ({ cidr }))).map(
    ({ cidr }) => cidr,
  );
  const exemptions = nameRanges(aggregate(exemptRanges(cluster, networkContext)));
  const discovered = discoverDestinations(cluster, networkContext, warnings);
  const routes = new Set(discovered.map(({ cidr }) => cidr.text)).size;
  if (!allowRouteLoss && isRouteLoss(node, cluster, networkContext, routes)) {
    const before = node.recorded?.routes ?? 'some';
    return heldPlan(
      `${routes} routes were found in ${networkContext.network}, where there were ${before}`,
      warnings,
    );
  }

  const provenance = aggregate(
    [...configuredDestinations(cluster), ...discovered].filter(
      (request) => hasPodsInFamily(request, pods, warnings) && isMasqueradable(request, exemptions, warnings),
    ),
  );
  const destinations = nameRanges(provenance);
  // An empty rule set takes away what a node has in force; one that never had any needs none.
  if (destinations.length === 0 && !node.recorded)
    return skipWithoutDestinations(cluster, networkContext, warnings);
  if (destinations.length > destinationsLimit) {
    return heldPlan(
      `${destinations.length} destinations are more than the ${destinationsLimit} a node takes`,
      warnings,
    );
  }
  if (arePodsRouted(cluster, networkContext)) {
    const detail = 'Towards peerings nothing is masqueraded: not needed, they have routes to the pods.';
    warnings.push({ code: 'pods-routed', detail });
  }
  if (pods.length === 0) {
    warnings.push({ code: 'any-source', detail: 'No pod range is known, so the rules match any source.' });
  }
  const isFamilyInUse = ({ family }: Cidr) => destinations.some(({ cidr }) => cidr.family === family);
  const ruleSet: RuleSet = {
    generation,
    randomFully: cluster.randomFully,
    ...(cluster.out === undefined ? {} : { out: cluster.out }),
    sources: pods.filter(isFamilyInUse),
    exemptions: exemptions.filter(({ cidr }) => isFamilyInUse(cidr)),
    destinations,
    probes: usableProbes(cluster, destinations, exemptions, warnings),
  };
  return { kind: 'rule-set', ruleSet, id: ruleSetId(ruleSet), routes, provenance, warnings };
}

const heldPlan = (reason: string, warnings: readonly Warning[]): Plan => ({
  kind: 'hold',
  detail: `${reason}; the rules in force stay.`,
  warnings,
});

/**
 * Discovery suddenly finds less than half of what it found: rather a mistake than a wish. Where that number is
 * not known, it counts as lost when discovery is all that the config asks for and finds nothing.
 */
function isRouteLoss(
  { recorded }: Node,
  cluster: ClusterConfig,
  networkContext: NetworkContext,
  routes: number,
): boolean {
  const kinds = requestedKinds(cluster);
  if (!recorded || kinds.length === 0 || arePodsRouted(cluster, networkContext)) return false;
  if (recorded.routes !== undefined) return routes < recorded.routes / 2;
  return routes === 0 && kinds.length === cluster.masquerade.length;
}

/** Peers know where every pod of this cluster is, also those that only the config tells of. */
function arePodsRouted(cluster: ClusterConfig, networkContext: NetworkContext): boolean {
  const isKnown = (pods: Cidr) => networkContext.podRanges.some((range) => covers(range, pods));
  return (
    networkContext.arePodsRouted && cluster.masquerade.includes('peerings') && cluster.pods.every(isKnown)
  );
}

function skipWithoutDestinations(
  cluster: ClusterConfig,
  networkContext: NetworkContext,
  warnings: readonly Warning[],
): Skip {
  return arePodsRouted(cluster, networkContext)
    ? skip(
        'pods-routed',
        'Not needed: its pods have addresses that peered networks have routes to.',
        warnings,
      )
    : skip('nothing-to-masquerade', `No destination was found in ${networkContext.network}.`, warnings);
}

function exemptRanges(cluster: ClusterConfig, networkContext: NetworkContext): NamedCidr[] {
  const named = (name: string, cidrs: readonly Cidr[]) => cidrs.map((cidr) => ({ cidr, name }));
  return [
    ...named('pods', [...cluster.pods, ...networkContext.podRanges]),
    ...named('services', cluster.services),
    ...named('network', networkContext.networkRanges),
    ...named('except', cluster.except),
  ];
}

function configuredDestinations({ masquerade }: ClusterConfig): DestinationRequest[] {
  return masquerade
    .filter((entry) => typeof entry !== 'string')
    .map((entry) => ({ ...entry, from: 'config' }));
}

/** What the routes of the kinds that the config asks for lead to. */
function discoverDestinations(
  cluster: ClusterConfig,
  networkContext: NetworkContext,
  warnings: Warning[],
): DestinationRequest[] {
  return requestedKinds(cluster).flatMap((kind) => {
    if (!networkContext.discoveredKinds.includes(kind)) {
      const detail = `${kind} cannot be looked up for this node; give the ranges as cidr.`;
      warnings.push({ code: 'kind-not-discovered', detail });
      return [];
    }
    if (kind === 'peerings' && arePodsRouted(cluster, networkContext)) return [];
    const found = networkContext.routes
      .filter((route) => route.kind === kind)
      .flatMap((route) => requestsForRoute(route, warnings));
    if (found.length === 0) {
      warnings.push({
        code: 'no-routes-found',
        detail: `No route over ${kind} was found in ${networkContext.network}.`,
      });
    }
    return found;
  });
}

/** Without pods of its family a destination would have no source, and get no rule. */
function hasPodsInFamily(
  { cidr, name }: DestinationRequest,
  pods: readonly Cidr[],
  warnings: Warning[],
): boolean {
  if (pods.length === 0 || pods.some(({ family }) => family === cidr.family)) return true;
  const detail = `${cidr.text} (${name}) is left out: no IPv${cidr.family} pod range is known.`;
  warnings.push({ code: 'no-pod-range-in-family', detail });
  return false;
}

function requestsForRoute(route: Route, warnings: Warning[]): DestinationRequest[] {
  if (route.state === 'provisioning') {
    warnings.push({
      code: 'provisioning',
      detail: `${route.via} is still being set up; the route to ${route.destination} counts when it is active.`,
    });
    return [];
  }
  if (route.state === 'blackhole') {
    warnings.push({
      code: 'blackhole',
      detail: `The route to ${route.destination} through ${route.via} leads nowhere.`,
    });
    return [];
  }
  try {
    return [{ cidr: parseCidr(route.destination), name: toName(route.via), from: route }];
  } catch (error) {
    warnings.push({
      code: 'unreadable-route',
      detail: `A route through ${route.via} is left out: ${messageOf(error)}.`,
    });
    return [];
  }
}

/** Leaves out destinations that must not be masqueraded to at all, and says so. */
function isMasqueradable(
  { cidr, name }: DestinationRequest,
  exemptions: readonly NamedCidr[],
  warnings: Warning[],
): boolean {
  const reason = reservedReason(cidr);
  if (reason) {
    warnings.push({
      code: 'reserved-range',
      detail: `${cidr.text} (${name}) is left out: it ${reason}. Give the ranges behind it as cidr.`,
    });
    return false;
  }
  const overlapping = exemptions.filter((exemption) => overlaps(exemption.cidr, cidr));
  const list = overlapping.map((exemption) => `${exemption.cidr.text} ${exemption.name}`).join(', ');
  if (
    subtract(
      cidr,
      overlapping.map((exemption) => exemption.cidr),
    ).length === 0
  ) {
    warnings.push({
      code: 'destination-exempt',
      detail: `${cidr.text} (${name}) is left out: it is exempt as ${list}.`,
    });
    return false;
  }
  if (overlapping.length > 0) {
    warnings.push({
      code: 'destination-overlaps',
      detail: `${cidr.text} (${name}) is masqueraded to, except ${list}.`,
    });
  }
  return true;
}

function usableProbes(
  cluster: ClusterConfig,
  destinations: readonly NamedCidr[],
  exemptions: readonly NamedCidr[],
  warnings: Warning[],
): ClusterConfig['probe'] {
  const once = [...new Map(cluster.probe.map((probe) => [printProbe(probe), probe])).values()];
  return once.filter((probe) => {
    const holds = ({ cidr }: NamedCidr) => contains(cidr, probe.address);
    const isMasqueraded = destinations.some(holds) && !exemptions.some(holds);
    if (!isMasqueraded) {
      warnings.push({
        code: 'probe-not-masqueraded',
        detail: `The probe ${printProbe(probe)} is left out: nothing masquerades to it.`,
      });
    }
    return isMasqueraded;
  });
}

/** Each range named after what asked for exactly it, else after the first that asked and how many more did. */
function nameRanges<T extends NamedCidr>(ranges: readonly Aggregate<T>[]): NamedCidr[] {
  return ranges.map(({ cidr, from }) => {
    const exact = from.filter((entry) => entry.cidr.text === cidr.text);
    const names = [...new Set((exact.length > 0 ? exact : from).map(({ name }) => name))].toSorted();
    const [first = '-', ...others] = names;
    if (others.length === 0) return { cidr, name: first };
    const more = `/and-${others.length}-more`;
    return { cidr, name: `${first.slice(0, 63 - more.length)}${more}` };
  });
}
