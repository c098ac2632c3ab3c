import { contains, covers, tryParseCidr, type Address, type Cidr } from '../model/cidr';
import { configuredKinds, requestedKinds } from '../model/config';
import type { Route } from '../model/node';
import { overlapsNonRfc1918, reservedRangeOf } from '../model/reserved-ranges';
import { known, unknown, type Decision } from './decision';
import { describeUnusable } from './node-subnet';
import {
  arePodsRouted,
  decideRanges,
  refusedClientHint,
  type MasqueradingContext,
  type MasqueradingRanges,
} from './ranges';
import type { DestinationRequest } from './requests';

/** With `any-pod`, the decision applies to every pod of the cluster. */
export type PacketSource = Address | 'any-pod' | 'node';

export type Decider = (source: PacketSource, destination: Address) => Decision;

export interface Question extends MasqueradingContext {
  readonly source: PacketSource;
  readonly destination: Address;
}

/**
 * Decides whether a packet needs masquerading. All commands and functions use this decision. This is a pure function;
 * the verdict is `unknown` if the input does not determine it.
 */
export const decide = ({ source, destination, ...context }: Question): Decision =>
  makeDecider(context)(source, destination);

/** Returns a function that decides like `decide`, for any number of packets in the same context. */
export function makeDecider(context: MasqueradingContext): Decider {
  const ranges = decideRanges(context);
  return (source, destination) => {
    const packet: Packet = { ...context, ranges, source, destination };
    for (const rule of rules) {
      const decision = rule(packet);
      if (decision) return decision;
    }
    return noKnownRoute(packet);
  };
}

interface Packet extends Question {
  readonly ranges: MasqueradingRanges;
}

/** The rules, in order of precedence. The first rule that applies to the packet decides. */
const rules: readonly ((packet: Packet) => Decision | undefined)[] = [
  fromNode,
  toReservedRange,
  insideCluster,
  toExceptedRange,
  overOtherSubnet,
  toOwnNetwork,
  toDestination,
  toPeerThatRoutesPods,
  toRefusedRange,
  overInactiveRoute,
  overUndiscoveredKind,
  overUnrequestedRoute,
];

function fromNode({ source }: Packet): Decision | undefined {
  if (source !== 'node') return undefined;
  return known('from-node', 'The connection starts on the node and uses its address.');
}

function toReservedRange({ destination }: Packet): Decision | undefined {
  const range = reservedRangeOf(destination);
  if (!range) return undefined;
  return known(
    'reserved-range',
    `${destination.text} is in ${range.cidr.text} (${range.reason}), which is never masqueraded.`,
  );
}

function insideCluster({ destination, cluster, networkContext }: Packet): Decision | undefined {
  const pods = rangeWith([...cluster.pods, ...networkContext.podRanges], destination);
  const range = pods ?? rangeWith(cluster.services, destination);
  if (!range) return undefined;
  const kind = pods ? 'pod' : 'service';
  const evidence = `${destination.text} is in ${range.text}, the cluster's ${kind} range, and is routed inside the cluster.`;
  return known('inside-cluster', evidence);
}

function toExceptedRange(packet: Packet): Decision | undefined {
  const range = rangeWith(packet.cluster.except, packet.destination);
  if (!range) return undefined;
  const evidence = `The except list in peermasq.yaml contains ${range.text}, so packets to ${packet.destination.text} keep the address of the pod.`;
  return unknown('excepted-range', evidence, returnRouteTo(packet));
}

function overOtherSubnet(packet: Packet): Decision | undefined {
  const { destination, ranges } = packet;
  const includesIt = ({ cidr }: { readonly cidr: Cidr }) => contains(cidr, destination);
  const route = ranges.unusable.find(includesIt);
  const isMasqueraded = ranges.destinations.some(includesIt) && !ranges.exemptions.some(includesIt);
  if (!route || isMasqueraded) return undefined;
  return unknown('not-in-node-subnet', describeUnusable(route), returnRouteTo(packet));
}

function toOwnNetwork(packet: Packet): Decision | undefined {
  const { destination, ranges, networkContext } = packet;
  // The preceding rules have handled all other exemptions.
  if (!ranges.exemptions.some(({ cidr }) => contains(cidr, destination))) return undefined;
  const own = `${destination.text} is in the node's own network, ${networkContext.network}`;
  if (isPodIn(packet, networkContext.networkRanges))
    return known('own-network', `${own}, and so is the pod.`);
  return unknown('pods-outside-network', `${own}, which is not masqueraded.`, returnRouteTo(packet));
}

function toDestination(packet: Packet): Decision | undefined {
  const { destination, ranges } = packet;
  const match = ranges.destinations.find(({ cidr }) => contains(cidr, destination));
  if (!match) return undefined;
  const { sources } = ranges;
  if (sources.length > 0 && !isPodIn(packet, sources)) return unknownPodRange(packet);
  const requests = match.from.filter(({ cidr }) => contains(cidr, destination));
  const [request = match.from[0]] = requests.toSorted((a, b) => rankOf(a) - rankOf(b));
  return request && decisionOf(request, packet);
}

/**
 * Ranks the requests for a destination. Config entries rank before routes, because a config entry explains the decision
 * better.
 */
function rankOf({ from, evenIfRouted, cidr }: DestinationRequest): number {
  if (evenIfRouted) return -2;
  return from === 'config' ? -1 : 128 - cidr.prefix;
}

function decisionOf({ cidr, name, from, evenIfRouted }: DestinationRequest, packet: Packet): Decision {
  if (from !== 'config') {
    const source = from.kind === 'peering-transit' ? 'passed on by a peer' : from.kind;
    return known(
      'requested-route',
      `${packet.networkContext.network} routes ${from.destination} through ${from.via} (${source}), and peermasq.yaml masquerades traffic to that range.`,
      from.peerRoutesPods === true
        ? 'The peer does not have routes to every pod range of the cluster.'
        : "The cloud's routes do not show whether return traffic reaches pod addresses.",
    );
  }
  const entry = `peermasq.yaml masquerades to ${cidr.text} (${name})`;
  return evenIfRouted
    ? known('even-if-routed', `${entry}, even if pods are routed.`)
    : known('configured-range', `${entry}.`);
}

function unknownPodRange(packet: Packet): Decision {
  const evidence = `${podOf(packet)} is in no known pod range of the cluster, so no rule matches it.`;
  const resolvedBy = `${returnRouteTo(packet)}; if it has none, add the range to pods in peermasq.yaml`;
  return unknown('unknown-pod-range', evidence, resolvedBy);
}

function toPeerThatRoutesPods(packet: Packet): Decision | undefined {
  const { destination, networkContext, ranges } = packet;
  const { routes, routedPodRanges } = networkContext;
  const route = routeTo(
    routes.filter(({ state, peerRoutesPods }) => state === 'active' && peerRoutesPods === true),
    destination,
  );
  if (!route) return undefined;
  const isRouted =
    packet.source === 'any-pod'
      ? arePodsRouted(destination.family, ranges.sources, networkContext)
      : isPodIn(packet, routedPodRanges);
  if (!isRouted) return undefined;
  const evidence = `Peer ${route.via} has routes to ${podOf(packet)}: its subnet ${route.destination} and ${listOf(routedPodRanges)} are exchanged over the peering.`;
  const hints = routedPodRanges.some(overlapsNonRfc1918) ? [refusedClientHint] : [];
  return known('pods-routed', evidence, ...hints);
}

/**
 * The decision for a destination whose request was refused, because it contains reserved or exempt ranges or because
 * the cluster has no pods of its address family.
 */
function toRefusedRange(packet: Packet): Decision | undefined {
  const { destination, ranges } = packet;
  const refused = ranges.refused.find(({ cidr }) => contains(cidr, destination));
  if (!refused) return undefined;
  const { sources } = ranges;
  if (sources.length > 0 && !sources.some(({ family }) => family === destination.family)) {
    return unknownPodRange(packet);
  }
  const evidence = `${refused.cidr.text} (${refused.name}) contains ranges that are never masqueraded, so no rule is created for it.`;
  const resolvedBy = 'a cidr entry in peermasq.yaml for the range behind the route';
  return unknown('refused-range', evidence, resolvedBy);
}

function overInactiveRoute({ cluster, networkContext, destination }: Packet): Decision | undefined {
  const requested = requestedKinds(cluster);
  const inactive = networkContext.routes.filter(
    ({ kind, state }) => state !== 'active' && requested.includes(kind),
  );
  const route = routeTo(inactive, destination);
  if (!route) return undefined;
  const state = route.state === 'blackhole' ? 'a blackhole' : 'still being set up';
  const evidence = `The route to ${route.destination} through ${route.via} is ${state}.`;
  return unknown('inactive-route', evidence, 'the route, once it is active');
}

function overUndiscoveredKind({ cluster, networkContext, destination }: Packet): Decision | undefined {
  const missing = configuredKinds(cluster).filter((kind) => !networkContext.discoveredKinds.includes(kind));
  if (missing.length === 0) return undefined;
  const evidence = `Cannot discover ${missing.join(', ')} for this node, so there may be an undiscovered route to ${destination.text}.`;
  const resolvedBy = `a cidr entry in peermasq.yaml that contains ${destination.text}`;
  return unknown('kind-not-discovered', evidence, resolvedBy);
}

function overUnrequestedRoute(packet: Packet): Decision | undefined {
  const { destination, networkContext, cluster } = packet;
  const route = routeTo(
    networkContext.routes.filter(({ state }) => state === 'active'),
    destination,
  );
  if (!route) return undefined;
  const evidence = `${networkContext.network} routes ${route.destination} through ${route.via}, and peermasq.yaml does not masquerade to ${route.kind} for cluster ${cluster.name}.`;
  return unknown('route-not-requested', evidence, returnRouteTo(packet));
}

function noKnownRoute(packet: Packet): Decision {
  const evidence = `peermasq.yaml does not masquerade to ${packet.destination.text}, and no peering or gateway is known to route it.`;
  return unknown('no-known-route', evidence, returnRouteTo(packet));
}

const rangeWith = (ranges: readonly Cidr[], address: Address): Cidr | undefined =>
  ranges.find((range) => contains(range, address));

/** Returns the route with the longest matching prefix. */
function routeTo(routes: readonly Route[], address: Address): Route | undefined {
  const matches = routes.flatMap((route) => {
    const cidr = tryParseCidr(route.destination);
    return cidr && contains(cidr, address) ? [{ route, prefix: cidr.prefix }] : [];
  });
  return matches.toSorted((a, b) => b.prefix - a.prefix)[0]?.route;
}

/**
 * Whether the pod is in one of the ranges. For `any-pod`, whether every pod range of the destination's address family
 * is covered.
 */
function isPodIn({ source, destination, ranges }: Packet, outer: readonly Cidr[]): boolean {
  if (source === 'node') return false;
  if (source !== 'any-pod') return rangeWith(outer, source) !== undefined;
  const pods = ranges.sources.filter(({ family }) => family === destination.family);
  return pods.length > 0 && pods.every((pod) => outer.some((range) => covers(range, pod)));
}

const listOf = (ranges: readonly Cidr[]): string => ranges.map(({ text }) => text).join(', ');

const podOf = ({ source }: Packet): string => (typeof source === 'string' ? 'the pods' : source.text);

const returnRouteTo = (packet: Packet): string =>
  `whether the network of ${packet.destination.text} has a route to ${podOf(packet)}`;
