import type { Address } from '../../model/cidr';
import { allOf, not, type Family, type Range, type Ternary } from '../model';
import { addressBits, contains, prefixRange, protocolNumber } from '../ranges';
import {
  everyPacket,
  routingTableKey,
  type KernelNextHop,
  type KernelRoute,
  type RoutingAction,
  type RoutingRule,
  type Snapshot,
} from '../snapshot';
import type { Packet } from './packet';
import type { Mark } from './packet-state';
import { isLocal } from './routing';

/** What the kernel's routing may do with a packet. */
export type RouteResult =
  | { readonly kind: 'forward'; readonly nextHops: readonly KernelNextHop[] }
  | { readonly kind: 'local' }
  | { readonly kind: 'rejected'; readonly by: string }
  /** `missing` describes what the dump does not contain. */
  | { readonly kind: 'unknown'; readonly missing: string };

export interface RouteQuery {
  readonly snapshot: Snapshot;
  readonly packet: Packet;
  /** The destination, after translation. */
  readonly destination: bigint;
  readonly destinationPort: number | undefined;
  readonly mark: Mark;
  /** The interface on which the packet arrives. Empty if the node itself sends the packet. */
  readonly in: string | undefined;
}

/** What a rule or a table may do with a packet, and whether the kernel may continue with the next rule. */
interface Outcome {
  readonly results: readonly RouteResult[];
  readonly continues: boolean;
}

const nextRule: Outcome = { results: [], continues: true };

/**
 * Follows the routing rules in order of priority, as fib_rules_lookup in the kernel's net/core/fib_rules.c does, and
 * returns everything that may happen to the packet.
 */
export function findRoutes(query: RouteQuery): RouteResult[] {
  const rules = rulesOf(query);
  const results: RouteResult[] = [];
  const reached = new Set([0]);
  for (const [index, rule] of rules.entries()) {
    if (!reached.has(index)) continue;
    const matched = evaluateRule(rule, query);
    if (matched !== true) reached.add(index + 1);
    if (matched === false) continue;
    const { action } = rule;
    const outcome = action.kind === 'lookup' ? lookUp(action, query) : outcomeOf(rule);
    results.push(...outcome.results);
    if (outcome.continues) reached.add(action.kind === 'goto' ? gotoIndex(rules, index, action) : index + 1);
  }
  if (reached.has(rules.length)) results.push(noRouteFound(query));
  return results;
}

function noRouteFound({
  snapshot,
  packet: {
    source: { family },
  },
}: RouteQuery): RouteResult {
  const isEverythingShown = snapshot.completeRoutingTables.has(routingTableKey(family));
  return isEverythingShown
    ? { kind: 'rejected', by: 'no route to the destination' }
    : { kind: 'unknown', missing: 'a route to the destination' };
}

function rulesOf({ snapshot, packet }: RouteQuery): readonly RoutingRule[] {
  const { family } = packet.source;
  const rules = snapshot.routingRules.filter((rule) => rule.family === family);
  if (rules.length > 0) return rules;
  const hasOtherTables = snapshot.routes.some(
    (route) => route.family === family && !ownTables.has(route.table),
  );
  return hasOtherTables ? unknownRoutingRules(family) : defaultRules;
}

const lookupRule = (priority: number, table: string): RoutingRule => ({
  family: 4,
  priority,
  text: `${priority}: from all lookup ${table}`,
  ...everyPacket,
  unknown: [],
  action: { kind: 'lookup', table, suppressedPrefix: undefined, suppressedGroup: undefined },
});

/** The rules of a network namespace in which no program has changed them. */
const defaultRules: readonly RoutingRule[] = [lookupRule(0, 'local'), lookupRule(32766, 'main')];

/** The tables that are used without any further rule. */
const ownTables: ReadonlySet<string> = new Set(['local', 'main', 'default']);

/** Returns rules that may do anything, for a dump that contains none. */
export function unknownRoutingRules(family: Family): RoutingRule[] {
  const text = 'the routing rules (the output of `ip rule`)';
  const unknown: RoutingRule = {
    ...lookupRule(0, 'local'),
    unknown: ['rules'],
    action: { kind: 'unknown', text },
  };
  return [unknown, ...defaultRules].map((rule) => ({ ...rule, family }));
}

function gotoIndex(rules: readonly RoutingRule[], index: number, { priority }: { priority: number }): number {
  const target = rules.findIndex((rule, at) => at > index && rule.priority === priority);
  return target < 0 ? index + 1 : target;
}

function outcomeOf({ action, priority, text }: RoutingRule): Outcome {
  switch (action.kind) {
    case 'reject':
      return { results: [{ kind: 'rejected', by: `ip rule ${priority}: ${text}` }], continues: false };
    case 'unknown':
      return { results: [{ kind: 'unknown', missing: action.text }], continues: true };
    case 'lookup':
    case 'goto':
    case 'nop':
      return nextRule;
  }
}

function evaluateRule(rule: RoutingRule, query: RouteQuery): Ternary {
  const matched = allOf(evaluateSelectors(rule, query));
  return rule.isNegated ? not(matched) : matched;
}

function* evaluateSelectors(rule: RoutingRule, query: RouteQuery): Generator<Ternary> {
  const { packet, destination, destinationPort, mark } = query;
  if (rule.from) yield ifBound(contains([rule.from], packet.source.value), packet);
  if (rule.to) yield contains([rule.to], destination);
  if (rule.mark) yield evaluateMark(rule.mark, mark);
  if (rule.in !== undefined) yield evaluateInterface(rule.in, query.in === '' ? 'lo' : query.in);
  // Only sockets are bound to an outgoing interface.
  if (rule.out !== undefined) yield packet.isFromNode && evaluateInterface(rule.out, packet.out);
  if (rule.users) yield packet.isFromNode ? 'unknown' : contains([rule.users], forwardingUser);
  if (rule.protocol !== undefined) yield ifBound(rule.protocol === protocolNumber(packet.protocol), packet);
  if (rule.sourcePorts) yield ifBound(evaluatePort(rule.sourcePorts, packet.sourcePort), packet);
  if (rule.destinationPorts) yield ifBound(evaluatePort(rule.destinationPorts, destinationPort), packet);
  for (const selector of rule.unknown) yield selector === 'l3mdev' ? mayBeInVrf(query) : 'unknown';
}

/**
 * A socket that is not bound to an address or port chooses them by its route, so that the kernel may look up the route
 * without them.
 */
const ifBound = (matched: Ternary, { isFromNode }: Packet): Ternary =>
  isFromNode && matched === true ? 'unknown' : matched;

function evaluateMark({ value, mask }: { value: number; mask: number }, mark: Mark): Ternary {
  const known = (mark.known & mask) >>> 0;
  if (((mark.value ^ value) & known) !== 0) return false;
  return known === mask >>> 0 || 'unknown';
}

function evaluateInterface(name: string, actual: string | undefined): Ternary {
  if (name === '') return false;
  return actual === undefined ? 'unknown' : name === actual;
}

/** The kernel routes forwarded packets as root's (ip_route_input_slow in net/ipv4/route.c), unlike `ip route get`. */
const forwardingUser = 0;

const evaluatePort = (ports: Range<number>, port: number | undefined): Ternary =>
  port === undefined ? 'unknown' : contains([ports], port);

/** Whether the packet's interface may belong to a VRF. An interface without a master does not. */
function mayBeInVrf({ snapshot: { masters }, packet, in: incoming }: RouteQuery): Ternary {
  const isOutside =
    !packet.isFromNode &&
    incoming !== undefined &&
    masters.has(incoming) &&
    masters.get(incoming) === undefined;
  return isOutside ? false : 'unknown';
}

type Lookup = Extract<RoutingAction, { kind: 'lookup' }>;

function lookUp(action: Lookup, query: RouteQuery): Outcome {
  const { snapshot, packet, destination } = query;
  const { family } = packet.source;
  if (action.table === 'local' && isLocal(snapshot, { family, address: destination }) === true)
    return { results: [{ kind: 'local' }], continues: false };
  const routes = snapshot.routes.filter((route) => route.family === family && route.table === action.table);
  const outcome = resolve(
    routes.filter((route) => matches(route, query)),
    action,
  );
  if (!outcome.continues || isShown(action.table, query)) return outcome;
  const command = `ip ${family === 6 ? '-6 ' : ''}route show table ${action.table}`;
  const missing =
    routes.length === 0
      ? `routing table ${action.table} (the output of \`${command}\`)`
      : `a route to the destination in table ${action.table}`;
  return { results: [...outcome.results, { kind: 'unknown', missing }], continues: true };
}

/**
 * Whether every route of the table is known. Table local follows from the node's addresses, and table default is empty
 * unless someone adds a route.
 */
function isShown(
  table: string,
  {
    snapshot,
    packet: {
      source: { family },
    },
  }: RouteQuery,
): boolean {
  const { completeRoutingTables: complete } = snapshot;
  if (table === 'local' || table === 'default') return true;
  return complete.has(routingTableKey(family, table)) || complete.has(routingTableKey(family));
}

const matches = ({ family, first, prefix, from }: KernelRoute, { destination, packet }: RouteQuery) =>
  contains([prefixRange(family, first, prefix)], destination) &&
  (from === undefined || contains([from], packet.source.value));

/** Types in table local that do not lead a packet to another host or to the node. */
const ignoredTypes: ReadonlySet<string> = new Set(['broadcast', 'multicast']);
const rejectingTypes: ReadonlySet<string> = new Set(['blackhole', 'unreachable', 'prohibit']);

/** Selects the route with the longest prefix. Among routes with the same prefix, the lowest metric wins. */
function resolve(matching: readonly KernelRoute[], action: Lookup): Outcome {
  const ordered = matching
    .filter(({ type }) => !ignoredTypes.has(type))
    .sort((a, b) => b.prefix - a.prefix || narrowness(b) - narrowness(a) || a.metric - b.metric);
  const results: RouteResult[] = [];
  let selected: KernelRoute | undefined;
  for (const route of ordered) {
    if (selected && !isSameRank(selected, route)) break;
    const outcome = applyRoute(route, action);
    results.push(...outcome.results);
    if (outcome.continues && !route.isConditional && !selected) return { results, continues: true };
    if (!route.isConditional) selected ??= route;
  }
  return { results, continues: !selected || action.suppressedGroup !== undefined };
}

/** Routes that are equal in everything else are next hops of one route, or the dump shows two tables as one. */
const isSameRank = (a: KernelRoute, b: KernelRoute) =>
  a.prefix === b.prefix && a.metric === b.metric && narrowness(a) === narrowness(b);

/** IPv6 prefers the route for the narrowest range of sources. */
const narrowness = ({ from }: KernelRoute) => (from ? -Number(from.last - from.first) : -Infinity);

function applyRoute({ type, prefix, nextHops }: KernelRoute, { suppressedPrefix }: Lookup): Outcome {
  if (rejectingTypes.has(type))
    return { results: [{ kind: 'rejected', by: `route of type ${type}` }], continues: false };
  if (type === 'throw' || (suppressedPrefix !== undefined && prefix <= suppressedPrefix)) return nextRule;
  if (type === 'local' || type === 'anycast') return { results: [{ kind: 'local' }], continues: false };
  return { results: [{ kind: 'forward', nextHops }], continues: false };
}

/**
 * Returns the interface on which a pod's packets arrive: that of the longest prefix that contains the pod, in any table.
 * Routes through a gateway do not show it, and through an interface with a default route only host routes do.
 */
export function findPodDevice({ routes }: Snapshot, { family, value }: Address): string | undefined {
  const unicast = routes.filter((route) => route.family === family && route.type === 'unicast');
  const containing = unicast.filter(
    ({ first, prefix }) => prefix > 0 && contains([prefixRange(family, first, prefix)], value),
  );
  const longest = Math.max(...containing.map(({ prefix }) => prefix));
  const nextHops = containing.filter(({ prefix }) => prefix === longest).flatMap((route) => route.nextHops);
  const [device, ...others] = new Set(nextHops.map((nextHop) => nextHop.device));
  const isUplink = unicast.some(
    ({ prefix, nextHops: [nextHop] }) => prefix === 0 && nextHop?.device === device,
  );
  const isOnLink = nextHops.every(({ via }) => via === undefined);
  const isPodDevice = others.length === 0 && isOnLink && (!isUplink || longest === addressBits(family));
  return isPodDevice ? device : undefined;
}
