import { aggregate, covers, mergeCidrs, overlaps, subtract, type Aggregate, type Cidr } from '../model/cidr';
import { configuredKinds, kindsOf, requestedKinds, type ClusterConfig } from '../model/config';
import type { NetworkContext } from '../model/node';
import { cloudServices, overlapsNonRfc1918, reservedReason } from '../model/reserved-ranges';
import type { NamedCidr } from '../model/rule-set';
import type { Warning } from '../reconcile/check-eligibility';
import { exemptUnusable, splitBySubnet, unusableWarnings } from './node-subnet';
import {
  configuredRequests,
  nameRanges,
  parseRoutes,
  requestForRoute,
  type DestinationRequest,
  type ParsedRoute,
} from './requests';

/** The data that determines which packets of a cluster's pods are masqueraded on one node. */
export interface MasqueradingContext {
  readonly cluster: ClusterConfig;
  readonly networkContext: NetworkContext;
}

/**
 * The decision for all packets of a node's pods. A packet needs masquerading if and only if its source is in
 * `sources` and its destination is in `destinations` but not in `exemptions`.
 */
export interface MasqueradingRanges {
  /** The pod ranges. If empty, packets from any source are masqueraded. */
  readonly sources: readonly Cidr[];
  readonly exemptions: readonly Aggregate<NamedCidr>[];
  readonly destinations: readonly Aggregate<DestinationRequest>[];
  /** Requested routes to subnets of peers that have routes to every pod. */
  readonly routed: readonly ParsedRoute[];
  /**
   * Requested routes that masqueraded packets cannot use, because they exist only in the subnets of the node's
   * secondary interfaces.
   */
  readonly unusable: readonly ParsedRoute[];
  /** Requests for which no rule may be created. */
  readonly refused: readonly DestinationRequest[];
  /** The number of distinct ranges that were discovered. */
  readonly routes: number;
  readonly warnings: readonly Warning[];
}

/**
 * Decides which ranges are masqueraded. `plan` puts these ranges into a rule set; `decide` uses them to decide about
 * one packet.
 */
export function decideRanges(context: MasqueradingContext): MasqueradingRanges {
  const { cluster, networkContext } = context;
  const sources = mergeCidrs([...cluster.pods, ...networkContext.podRanges]);
  const discovered = discoverRoutes(context);
  const { usable, unusable } = splitBySubnet(discovered.routes, sources, networkContext);
  const families = ([4, 6] as const).filter((family) => arePodsRouted(family, sources, networkContext));
  const isRouted = ({ cidr, route }: ParsedRoute) =>
    route.peerRoutesPods === true && families.includes(cidr.family);
  const routed = usable.filter(isRouted);
  const requests = [
    ...configuredRequests(cluster),
    ...usable.filter((one) => !isRouted(one)).map(requestForRoute),
  ];
  const exemptions = aggregate([
    ...exemptRanges(context, sources),
    ...exemptUnusable(unusable, requests),
    ...exemptCloudServices(requests),
  ]);
  const selection = selectRequests(requests, { sources, exemptions, routed, networkContext });
  return {
    sources,
    exemptions,
    routed,
    unusable,
    destinations: aggregate(selection.selected),
    refused: selection.refused,
    routes: new Set(usable.map(({ cidr }) => cidr.text)).size,
    warnings: [
      ...discovered.warnings,
      ...unusableWarnings(unusable),
      ...selection.warnings,
      ...refusedClientWarnings(sources, routed, requests),
    ],
  };
}

/**
 * Whether peers have routes to every pod of the address family, including pods whose ranges are known only from the
 * config.
 */
export function arePodsRouted(
  family: Cidr['family'],
  sources: readonly Cidr[],
  { routedPodRanges }: NetworkContext,
): boolean {
  const pods = sources.filter((source) => source.family === family);
  return pods.length > 0 && pods.every((source) => subtract(source, routedPodRanges).length === 0);
}

/** Returns the active routes that the config requests. */
function discoverRoutes(context: MasqueradingContext): {
  routes: readonly ParsedRoute[];
  warnings: readonly Warning[];
} {
  const { network, routes, discoveredKinds } = context.networkContext;
  const requested = requestedKinds(context.cluster);
  const parsed = parseRoutes(routes.filter(({ kind }) => requested.includes(kind)));
  const warnings = configuredKinds(context.cluster).flatMap((source): Warning[] => {
    if (!discoveredKinds.includes(source)) {
      const detail = `Cannot discover ${source} for this node. Configure the ranges as cidr entries.`;
      return [{ code: 'kind-not-discovered', detail }];
    }
    if (parsed.routes.some(({ route }) => kindsOf(source).includes(route.kind))) return [];
    return [{ code: 'no-routes-found', detail: `Found no routes of kind ${source} in ${network}.` }];
  });
  return { routes: parsed.routes, warnings: [...parsed.warnings, ...warnings] };
}

/**
 * Pods, services and `except` always take precedence over destinations. So does the node's own network, unless the
 * config entry has `even-if-routed: true`.
 */
function exemptRanges({ cluster, networkContext }: MasqueradingContext, sources: readonly Cidr[]) {
  const { podRanges, networkRanges } = networkContext;
  const named = (name: string, cidrs: readonly Cidr[]): NamedCidr[] => cidrs.map((cidr) => ({ cidr, name }));
  const network = mergeCidrs(networkRanges);
  // If no pod range is known, the rule would also match traffic between the nodes of the network.
  const allowed = configuredRequests(cluster)
    .filter(({ evenIfRouted, cidr }) => evenIfRouted && reservedReason(cidr) === undefined)
    .map(({ cidr }) => cidr)
    .filter(({ family }) => sources.some((source) => source.family === family))
    .filter((cidr) => network.some((own) => covers(own, cidr)));
  return [
    ...named('pods', [...cluster.pods, ...podRanges]),
    ...named('services', cluster.services),
    ...named(
      'network',
      networkRanges.flatMap((own) => subtract(own, allowed)),
    ),
    ...named('except', cluster.except),
  ];
}

/**
 * Returns the cloud services whose addresses a request contains. Rule sets without such requests do not need these
 * exemptions.
 */
function exemptCloudServices(requests: readonly DestinationRequest[]): NamedCidr[] {
  const destinations = requests.map(({ cidr }) => cidr).filter((cidr) => reservedReason(cidr) === undefined);
  return cloudServices
    .filter(({ cidr }) => destinations.some((destination) => covers(destination, cidr)))
    .map(({ cidr, name }) => ({ cidr, name }));
}

/** The data that limits which requests can be masqueraded. */
interface Limits {
  readonly sources: readonly Cidr[];
  readonly exemptions: readonly Aggregate<NamedCidr>[];
  readonly routed: readonly ParsedRoute[];
  readonly networkContext: NetworkContext;
}

interface Selection {
  readonly selected: DestinationRequest[];
  readonly refused: DestinationRequest[];
  readonly warnings: Warning[];
}

/**
 * Returns the part of each request that can be masqueraded, with a warning for every request that is refused or
 * limited.
 */
function selectRequests(requests: readonly DestinationRequest[], limits: Limits): Selection {
  const routedRanges = mergeCidrs(limits.routed.map(({ cidr }) => cidr));
  const selection: Selection = { selected: [], refused: [], warnings: [] };
  for (const request of requests) {
    const refusal = refusalOf(request, limits);
    if (refusal) {
      selection.refused.push(request);
      selection.warnings.push(refusal);
      continue;
    }
    const routedParts = request.evenIfRouted
      ? []
      : routedRanges.filter((range) => overlaps(range, request.cidr));
    const parts = subtract(request.cidr, routedParts).filter((part) => reservedReason(part) === undefined);
    selection.selected.push(...parts.map((cidr) => ({ ...request, cidr })));
    selection.warnings.push(...routedPartWarnings(request, routedParts, parts));
    selection.warnings.push(...overlapWarnings(request, limits));
  }
  return selection;
}

function refusalOf({ cidr, name, from }: DestinationRequest, limits: Limits): Warning | undefined {
  const { sources, networkContext } = limits;
  const subject = `Skipped ${cidr.text} (${name})`;
  if (sources.length > 0 && !sources.some(({ family }) => family === cidr.family)) {
    const detail = `${subject}: no IPv${cidr.family} pod range is known.`;
    return { code: 'no-pod-range-in-family', detail };
  }
  const reason = reservedReason(cidr);
  if (reason !== undefined) {
    const detail = `${subject}: it ${reason}. Configure the ranges behind it as cidr entries.`;
    return { code: 'reserved-range', detail };
  }
  const overlapping = exemptionsOf(cidr, limits);
  if (
    subtract(
      cidr,
      overlapping.map((exemption) => exemption.cidr),
    ).length > 0
  )
    return undefined;
  const isInOwnNetwork = networkContext.networkRanges.some((own) => covers(own, cidr));
  const advice = from === 'config' && isInOwnNetwork ? ` ${ownNetworkAdvice(sources)}` : '';
  const detail = `${subject}: it is exempt (${listExemptions(overlapping)}).${advice}`;
  return { code: 'destination-exempt', detail };
}

const ownNetworkAdvice = (sources: readonly Cidr[]): string =>
  sources.length > 0
    ? "To masquerade to a range of the node's own network, set even-if-routed: true on the entry."
    : "To masquerade to a range of the node's own network, configure pods, and set even-if-routed: true on the entry.";

/**
 * Warns about config entries for ranges that have routes to the pods. Discovered routes cause no warning, because not
 * masquerading to a peer that has routes to the pods is normal.
 */
function routedPartWarnings(
  { cidr, name, from }: DestinationRequest,
  routedParts: readonly Cidr[],
  parts: readonly Cidr[],
): Warning[] {
  if (from !== 'config' || routedParts.length === 0) return [];
  const peers =
    'peers in these ranges have routes to the pods. To masquerade anyway, set even-if-routed: true on the entry.';
  const detail =
    parts.length === 0
      ? `Skipped ${cidr.text} (${name}): ${peers}`
      : `${cidr.text} (${name}) is masqueraded except for ${routedParts.map(({ text }) => text).join(', ')}: ${peers}`;
  return [{ code: 'destination-routed', detail }];
}

function overlapWarnings({ cidr, name }: DestinationRequest, limits: Limits): Warning[] {
  const overlapping = exemptionsOf(cidr, limits);
  if (overlapping.length === 0) return [];
  const detail = `${cidr.text} (${name}) is masqueraded except for ${listExemptions(overlapping)}.`;
  return [{ code: 'destination-overlaps', detail }];
}

const exemptionsOf = (cidr: Cidr, { exemptions }: Limits) =>
  exemptions.filter((exemption) => overlaps(exemption.cidr, cidr));

const listExemptions = (exemptions: readonly Aggregate<NamedCidr>[]): string =>
  nameRanges(exemptions)
    .map(({ cidr, name }) => `${cidr.text} ${name}`)
    .join(', ');

/**
 * Warns about services that have a route to the pods but may refuse them, because the pods' addresses are outside RFC
 * 1918.
 */
function refusedClientWarnings(
  sources: readonly Cidr[],
  routed: readonly ParsedRoute[],
  requests: readonly DestinationRequest[],
): Warning[] {
  const masqueraded = requests.filter(({ evenIfRouted }) => evenIfRouted).map(({ cidr }) => cidr);
  const isUnmasqueraded = routed.some(({ cidr }) => subtract(cidr, masqueraded).length > 0);
  const pods = sources.filter(overlapsNonRfc1918);
  if (!isUnmasqueraded || pods.length === 0) return [];
  const ranges = pods.map(({ text }) => text).join(', ');
  const detail = `Pods have addresses outside RFC 1918 (${ranges}). ${refusedClientHint}`;
  return [{ code: 'pods-outside-rfc1918', detail }];
}

export const refusedClientHint =
  'Google service producers such as Cloud SQL refuse clients outside RFC 1918 unless the clients are in authorized networks. ' +
  'To masquerade traffic to a producer, add its range as a cidr entry with even-if-routed: true.';
