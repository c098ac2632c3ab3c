import { contains, covers, overlaps, parseCidr, subtract, type Cidr } from '../model/cidr';
import { configuredKinds, kindsOf, type ClusterConfig } from '../model/config';
import { messageOf } from '../model/errors';
import type { NetworkContext, Route, RouteSourceKind } from '../model/node';
import { reservedReason } from '../model/reserved-ranges';
import { printProbe, toName, type NamedCidr, type Probe } from '../model/rule-set';
import type { Warning } from './check-eligibility';

/** A destination, and the line of the config or the route that requests it. */
export interface DestinationRequest {
  readonly cidr: Cidr;
  readonly name: string;
  readonly from: 'config' | Route;
}

export interface DestinationRequests {
  readonly requests: readonly DestinationRequest[];
  readonly warnings: readonly Warning[];
}

/** The inputs of a plan, other than the node. */
export interface PlanContext {
  readonly cluster: ClusterConfig;
  readonly networkContext: NetworkContext;
}

export function configuredDestinations({ masquerade }: ClusterConfig): DestinationRequest[] {
  return masquerade
    .filter((entry) => typeof entry !== 'string')
    .map((entry) => ({ ...entry, from: 'config' }));
}

/** The destinations of the discovered routes, by configured kind. */
export function discoverDestinations(context: PlanContext): DestinationRequests {
  const found = configuredKinds(context.cluster).map((kind) => discoverKind(kind, context));
  return {
    requests: found.flatMap(({ requests }) => requests),
    warnings: found.flatMap(({ warnings }) => warnings),
  };
}

function discoverKind(kind: RouteSourceKind, context: PlanContext): DestinationRequests {
  const { network, routes, discoveredKinds } = context.networkContext;
  if (!discoveredKinds.includes(kind)) {
    const detail = `Cannot discover ${kind} for this node. Configure the ranges as cidr entries.`;
    return { requests: [], warnings: [{ code: 'kind-not-discovered', detail }] };
  }
  if (kind === 'peerings' && arePodsRouted(context)) return { requests: [], warnings: [] };
  const requests: DestinationRequest[] = [];
  const warnings: Warning[] = [];
  for (const route of routes.filter((one) => kindsOf(kind).includes(one.kind))) {
    const request = requestForRoute(route);
    if ('code' in request) warnings.push(request);
    else requests.push(request);
  }
  if (requests.length === 0) {
    warnings.push({ code: 'no-routes-found', detail: `Found no routes of kind ${kind} in ${network}.` });
  }
  return { requests, warnings };
}

function requestForRoute(route: Route): DestinationRequest | Warning {
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
        return { cidr: parseCidr(destination), name: toName(via), from: route };
      } catch (error) {
        return {
          code: 'unreadable-route',
          detail: `Skipped a route through ${via}: ${messageOf(error)}.`,
        };
      }
  }
}

/** Whether peered networks have routes to every pod, also to those that only the config knows. */
export function arePodsRouted({ cluster, networkContext }: PlanContext): boolean {
  const { podRanges, routedPodRanges } = networkContext;
  const isRouted = (pods: Cidr) => routedPodRanges.some((range) => covers(range, pods));
  return (
    podRanges.length > 0 &&
    cluster.masquerade.includes('peerings') &&
    [...podRanges, ...cluster.pods].every(isRouted)
  );
}

/** The ranges that limit which destinations get a rule. */
export interface Limits {
  readonly pods: readonly Cidr[];
  readonly exemptions: readonly NamedCidr[];
}

/** Keeps the destinations that can be masqueraded, with a warning for each of the others. */
export function selectDestinations(
  requests: readonly DestinationRequest[],
  limits: Limits,
): DestinationRequests {
  const selected: DestinationRequest[] = [];
  const warnings: Warning[] = [];
  for (const request of requests) {
    const rejection = rejectionOf(request, limits);
    if (!rejection) selected.push(request);
    const warning = rejection ?? overlapWarning(request, limits.exemptions);
    if (warning) warnings.push(warning);
  }
  return { requests: selected, warnings };
}

function rejectionOf({ cidr, name }: DestinationRequest, { pods, exemptions }: Limits): Warning | undefined {
  const subject = `Skipped ${cidr.text} (${name})`;
  if (pods.length > 0 && !pods.some(({ family }) => family === cidr.family)) {
    const detail = `${subject}: no IPv${cidr.family} pod range is known.`;
    return { code: 'no-pod-range-in-family', detail };
  }
  const reason = reservedReason(cidr);
  if (reason !== undefined) {
    const detail = `${subject}: it ${reason}. Configure the ranges behind it as cidr entries.`;
    return { code: 'reserved-range', detail };
  }
  const overlapping = overlappingRanges(cidr, exemptions);
  const exempt = overlapping.map((exemption) => exemption.cidr);
  if (subtract(cidr, exempt).length > 0) return undefined;
  return { code: 'destination-exempt', detail: `${subject}: it is exempt (${listRanges(overlapping)}).` };
}

function overlapWarning(
  { cidr, name }: DestinationRequest,
  exemptions: readonly NamedCidr[],
): Warning | undefined {
  const overlapping = overlappingRanges(cidr, exemptions);
  if (overlapping.length === 0) return undefined;
  const detail = `${cidr.text} (${name}) is masqueraded except for ${listRanges(overlapping)}.`;
  return { code: 'destination-overlaps', detail };
}

const overlappingRanges = (cidr: Cidr, ranges: readonly NamedCidr[]): NamedCidr[] =>
  ranges.filter((range) => overlaps(range.cidr, cidr));

const listRanges = (ranges: readonly NamedCidr[]): string =>
  ranges.map(({ cidr, name }) => `${cidr.text} ${name}`).join(', ');

/** Keeps the probes that the rules masquerade, each once, with a warning for each of the others. */
export function selectProbes(
  probes: readonly Probe[],
  { destinations, exemptions }: { readonly destinations: readonly NamedCidr[] } & Pick<Limits, 'exemptions'>,
): { probes: Probe[]; warnings: Warning[] } {
  const distinct = [...new Map(probes.map((probe) => [printProbe(probe), probe])).values()];
  const isMasqueraded = ({ address }: Probe) => {
    const includesAddress = ({ cidr }: NamedCidr) => contains(cidr, address);
    return destinations.some(includesAddress) && !exemptions.some(includesAddress);
  };
  const skipped = distinct.filter((probe) => !isMasqueraded(probe));
  return {
    probes: distinct.filter(isMasqueraded),
    warnings: skipped.map((probe) => ({
      code: 'probe-not-masqueraded',
      detail: `Skipped probe ${printProbe(probe)}: no rule masquerades to it.`,
    })),
  };
}
