import { addressBits, contains, formatAddress, parseRange, prefixRange } from '../address';
import type {
  AddressSet,
  Ternary,
  Hook,
  Mark,
  MarkOf,
  RuleMatch,
  PortOf,
  Rule,
  Snapshot,
  Range,
  Condition,
} from '../model';
import { isBroadcast, isLocal, isMulticast } from '../parse/ip';
import type { Packet } from './packet';
import { protocolCondition, parsePortRange } from '../parse/iptables-options';

/** What changes while the packet passes through the node. `undefined`: not known. */
export interface PacketState {
  readonly destination: bigint | undefined;
  readonly destinationPort: number | undefined;
  readonly isTranslated: boolean;
  readonly isTracked: boolean;
  readonly packetMark: Mark;
  readonly connectionMark: Mark;
  readonly out: string | undefined;
  /** The next hop; the destination itself where it is a neighbour. */
  readonly nextHop: bigint | undefined;
  /** Once a rule has given it another source. */
  readonly translation: Translation | undefined;
}

export interface Translation {
  readonly by: Rule;
  /** One of these; which ones is not known where the list is empty. */
  readonly sources: readonly bigint[];
}

/** All that a match can look at. */
export interface MatchContext {
  readonly snapshot: Snapshot;
  readonly packet: Packet;
  /** The interface it came in by: '' for the node's own packets. */
  readonly in: string | undefined;
  readonly hook: Hook;
  /** Chains of table raw, and others that come before conntrack. */
  readonly isBeforeConntrack: boolean;
}

const protocolNumbers = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;

const not = (matched: Ternary): Ternary => (matched === 'unknown' ? matched : !matched);

export function every(results: Iterable<Ternary>): Ternary {
  let result: Ternary = true;
  for (const matched of results) {
    if (matched === false) return false;
    if (matched === 'unknown') result = matched;
  }
  return result;
}

export function some(results: Iterable<Ternary>): Ternary {
  let result: Ternary = false;
  for (const matched of results) {
    if (matched === true) return true;
    if (matched === 'unknown') result = matched;
  }
  return result;
}

export function evaluateMatch(match: RuleMatch, state: PacketState, context: MatchContext): Ternary {
  // Without a connection there is nothing to compare, negated or not (net/netfilter/xt_connmark.c, nft_ct.c).
  if (match.kind === 'mark' && match.of === 'connection' && !hasConnection(state, context)) return false;
  const matched = evaluateCondition(match, state, context);
  return match.negated ? not(matched) : matched;
}

export const hasConnection = (
  { isTracked }: PacketState,
  { isBeforeConntrack }: Pick<MatchContext, 'isBeforeConntrack'>,
): boolean => isTracked && !isBeforeConntrack;

export function evaluateMatches(
  matches: readonly RuleMatch[],
  state: PacketState,
  context: MatchContext,
): Ternary {
  let result: Ternary = true;
  for (const match of matches) {
    const matched = evaluateMatch(match, state, context);
    if (matched === false) return false;
    if (matched === 'unknown') result = matched;
  }
  return result;
}

function evaluateCondition(condition: Condition, state: PacketState, context: MatchContext): Ternary {
  const { packet } = context;
  switch (condition.kind) {
    case 'address': {
      const value = addressOf(condition.of, state, packet);
      if (condition.family !== packet.source.family) return false;
      return value === undefined ? 'unknown' : contains(condition.ranges, value);
    }
    case 'interface':
      return evaluateInterface(condition, state, context);
    case 'protocol':
      return contains(condition.ranges, protocolNumbers[packet.protocol]);
    case 'port':
      return evaluatePort(condition.of, condition.ranges, state, packet);
    case 'mark':
      return evaluateMark(markOf(condition.of, state), condition.mask, condition.ranges);
    case 'addrtype':
      return evaluateAddrtype(condition, state, context);
    case 'set':
      return evaluateSet(condition.name, condition.of, state, context, 0);
    case 'state':
      return evaluateState(condition.states, state, context);
    case 'tcp-flags':
      return (
        packet.protocol === 'tcp' &&
        condition.mask.includes('SYN') === condition.set.includes('SYN') &&
        condition.set.every((flag) => flag === 'SYN')
      );
    case 'icmp':
      return evaluateIcmp(condition.type, condition.code, packet);
    case 'family':
      return condition.family === packet.source.family;
    case 'constant':
      return condition.matched;
    case 'any':
      return some(condition.alternatives.map((matches) => evaluateMatches(matches, state, context)));
    case 'unknown':
      return 'unknown';
  }
}

function addressOf(of: string, state: PacketState, packet: Packet): bigint | undefined {
  switch (of) {
    case 'destination':
      return state.destination;
    case 'original-destination':
      return packet.destination.first;
    case 'source':
      return state.translation ? singleOrUndefined(state.translation.sources) : packet.source.first;
    default:
      return packet.source.first;
  }
}

const singleOrUndefined = ([first, ...others]: readonly bigint[]) =>
  others.length === 0 ? first : undefined;

function portOf(
  of: 'source' | 'destination' | 'original-source' | 'original-destination',
  state: PacketState,
  packet: Packet,
) {
  switch (of) {
    case 'destination':
      return state.destinationPort;
    case 'original-destination':
      return packet.destinationPort;
    default:
      return packet.sourcePort;
  }
}

const hasPorts = ({ protocol }: Packet) => protocol === 'tcp' || protocol === 'udp';

function evaluatePort(
  of: PortOf,
  ranges: readonly Range<number>[],
  state: PacketState,
  packet: Packet,
): Ternary {
  if (!hasPorts(packet)) return false;
  const sides = of === 'either' ? (['source', 'destination'] as const) : [of];
  return some(
    sides.map((side) => {
      const port = portOf(side, state, packet);
      return port === undefined ? matchUnknownPort(ranges) : contains(ranges, port);
    }),
  );
}

const matchUnknownPort = (ranges: readonly Range<number>[]): Ternary =>
  ranges.some(({ first, last }) => first === 0 && last === 65535) || 'unknown';

export const markOf = (of: MarkOf, state: PacketState): Mark =>
  of === 'packet' ? state.packetMark : state.connectionMark;

function evaluateMark({ value, known }: Mark, mask: number, ranges: readonly Range<number>[]): Ternary {
  const isKnown = (known & mask) >>> 0 === mask >>> 0;
  if (isKnown) return contains(ranges, (value & mask) >>> 0);
  const seen = (known & mask) >>> 0;
  const isPossible = ranges.some(({ first, last }) => first !== last || ((first ^ value) & seen) === 0);
  return isPossible ? 'unknown' : false;
}

/** `+` at the end stands for any end. */
const matchesPattern = (pattern: string, name: string) =>
  pattern.endsWith('+') ? name.startsWith(pattern.slice(0, -1)) : pattern === name;

function evaluateInterface(
  { of, names }: Extract<Condition, { kind: 'interface' }>,
  state: PacketState,
  context: MatchContext,
): Ternary {
  if (names.includes('+')) return true;
  const matchName = (name: string | undefined): Ternary =>
    name === undefined ? 'unknown' : names.some((pattern) => matchesPattern(pattern, name));
  if (of === 'out') return matchName(context.hook === 'prerouting' ? '' : state.out);
  if (context.hook !== 'postrouting') return matchName(context.in);
  // Before Linux 5.7 no packet in POSTROUTING had an incoming interface.
  const results = [matchName(context.in), matchName('')];
  return results[0] === results[1] ? (results[0] ?? 'unknown') : 'unknown';
}

function evaluateAddrtype(
  { of, types, on, hasSingleType }: Extract<Condition, { kind: 'addrtype' }>,
  state: PacketState,
  context: MatchContext,
): Ternary {
  const { packet, snapshot, hook } = context;
  const address = addressOf(of, state, packet);
  const { family } = packet.source;
  const device = on === 'in' ? context.in : on === 'out' ? state.out : undefined;
  if (address === undefined || (on && device === undefined)) return 'unknown';
  const at = on ? device : undefined;
  const isLeaving =
    of === 'destination' && (hook === 'postrouting' || hook === 'forward') && state.out !== 'lo';
  const local =
    isLocal(snapshot, family, address, at) ??
    (isLeaving && (!packet.isFromNode || state.out !== undefined) ? false : 'unknown');
  const broadcast = family === 6 ? false : (isBroadcast(snapshot, address, at) ?? 'unknown');
  const multicast = isMulticast(family, address);
  return some(
    types.map((type): Ternary => {
      switch (type) {
        case 'LOCAL':
          return local;
        case 'BROADCAST':
          return every([not(local), broadcast]);
        case 'MULTICAST':
          return multicast;
        case 'UNICAST':
          // Of IPv6 LOCAL is UNICAST too for iptables (net/netfilter/xt_addrtype.c).
          return every([(family === 6 && !hasSingleType) || not(local), not(broadcast), !multicast]);
        default:
          return 'unknown';
      }
    }),
  );
}

function evaluateState(
  states: readonly string[],
  { isTracked, isTranslated }: PacketState,
  { isBeforeConntrack }: MatchContext,
): Ternary {
  if (isBeforeConntrack) return 'unknown';
  if (!isTracked) return states.includes('UNTRACKED');
  return states.includes('NEW') || (isTranslated && states.includes('DNAT'));
}

function evaluateIcmp(type: number, code: number | undefined, { protocol }: Packet): Ternary {
  const echo = { icmp: 8, icmpv6: 128, tcp: undefined, udp: undefined }[protocol];
  return echo === type && (code ?? 0) === 0;
}

/** Deeper than ipset allows lists to be in lists. */
const maxListDepth = 4;

function evaluateSet(
  name: string,
  of: readonly ('source' | 'destination')[],
  state: PacketState,
  context: MatchContext,
  depth: number,
): Ternary {
  const set = context.snapshot.sets.get(name);
  if (!set || context.snapshot.changingSets.has(name) || depth > maxListDepth) return 'unknown';
  if (set.type === 'list:set') {
    return some(set.entries.map(({ text }) => evaluateSet(text, of, state, context, depth + 1)));
  }
  if (set.type !== 'bitmap:port' && set.family !== context.packet.source.family) return false;
  const [, dimensions = ''] = set.type.split(':');
  return evaluateEntries(set, dimensions.split(','), of, state, context);
}

function evaluateEntries(
  set: AddressSet,
  dimensions: readonly string[],
  of: readonly ('source' | 'destination')[],
  state: PacketState,
  context: MatchContext,
): Ternary {
  if (of.length < dimensions.length) return 'unknown';
  // The narrowest range decides; which that is among entries of two ranges is not told here.
  if (
    dimensions.filter((dimension) => dimension === 'net').length > 1 &&
    set.entries.some((entry) => entry.isExcluded)
  ) {
    return 'unknown';
  }
  const found: { prefix: number; isExcluded: boolean; matched: Ternary }[] = [];
  for (const { text, isExcluded } of set.entries) {
    const parts = text.split(',');
    const matched = every(
      dimensions.map((dimension, index) =>
        evaluateEntryPart(dimension, parts[index] ?? '', of[index] ?? 'source', set, state, context),
      ),
    );
    if (matched !== false) found.push({ prefix: prefixLengthOf(parts), isExcluded, matched });
  }
  return mostSpecific(found);
}

const prefixLengthOf = (parts: readonly string[]) =>
  Number(parts.find((part) => part.includes('/'))?.split('/')[1] ?? 128);

function mostSpecific(found: readonly { prefix: number; isExcluded: boolean; matched: Ternary }[]): Ternary {
  const sorted = found.toSorted((a, b) => b.prefix - a.prefix);
  const certain = sorted.findIndex(({ matched }) => matched === true);
  const deciding = certain < 0 ? sorted : sorted.slice(0, certain + 1);
  const outcomes = new Set(deciding.map(({ isExcluded }) => !isExcluded));
  if (certain < 0) outcomes.add(false);
  const [outcome] = outcomes;
  return outcomes.size === 1 && outcome !== undefined ? outcome : 'unknown';
}

function evaluateEntryPart(
  dimension: string,
  text: string,
  of: 'source' | 'destination',
  set: AddressSet,
  state: PacketState,
  context: MatchContext,
): Ternary {
  switch (dimension) {
    case 'ip':
    case 'net':
      return evaluateEntryAddress(text, set, addressOf(of, state, context.packet));
    case 'port':
      return evaluateEntryPort(text, of, state, context.packet);
    case 'iface':
      return evaluateInterface(
        { kind: 'interface', of: of === 'source' ? 'in' : 'out', names: [text] },
        state,
        context,
      );
    default:
      return 'unknown';
  }
}

function evaluateEntryAddress(
  text: string,
  { family, prefix }: AddressSet,
  address: bigint | undefined,
): Ternary {
  const parsed = parseRange(text);
  if (!parsed || address === undefined) return 'unknown';
  const maskedAddress = prefix === addressBits(family) ? address : prefixRange(family, address, prefix).first;
  return parsed.family === family && contains([parsed.range], maskedAddress);
}

function evaluateEntryPort(
  text: string,
  of: 'source' | 'destination',
  state: PacketState,
  packet: Packet,
): Ternary {
  const [left = '', right] = text.split(':');
  const protocol = right === undefined ? undefined : protocolCondition(left);
  const isProtocol =
    right === undefined ||
    (protocol?.kind === 'protocol' && contains(protocol.ranges, protocolNumbers[packet.protocol]));
  if (!isProtocol) return false;
  const range = parsePortRange(right ?? left);
  if (!hasPorts(packet) || !range) return hasPorts(packet) || right !== undefined ? 'unknown' : false;
  const port = portOf(of, state, packet);
  return port === undefined ? 'unknown' : contains([range], port);
}

/** What the match looked at, in words. */
export function describeInput(match: RuleMatch, state: PacketState, context: MatchContext): string {
  const { packet } = context;
  const { family } = packet.source;
  switch (match.kind) {
    case 'address': {
      const address = addressOf(match.of, state, packet);
      return `${match.of.replace('-', ' ')} ${address === undefined ? 'not known' : formatAddress(family, address)}`;
    }
    case 'interface': {
      const name = match.of === 'in' ? context.in : context.hook === 'prerouting' ? '' : state.out;
      return `interface ${match.of === 'in' ? 'in' : 'out'} ${name === undefined ? 'not known' : name === '' ? 'none' : name}`;
    }
    case 'protocol':
    case 'icmp':
    case 'tcp-flags':
      return `protocol ${packet.protocol}`;
    case 'port':
      return `ports ${packet.sourcePort ?? 'not known'} to ${state.destinationPort ?? 'not known'}`;
    case 'mark': {
      const { value, known } = markOf(match.of, state);
      return known === 0xffffffff ? `${match.of} mark 0x${value.toString(16)}` : `${match.of} mark not known`;
    }
    case 'addrtype': {
      const address = addressOf(match.of, state, packet);
      const shown = address === undefined ? 'not known' : formatAddress(family, address);
      return context.snapshot.addresses.length === 0
        ? `${match.of} ${shown}, and the dump has no addresses of the node`
        : `${match.of} ${shown}`;
    }
    case 'set': {
      if (!context.snapshot.sets.has(match.name)) return 'the dump does not have this set';
      if (context.snapshot.changingSets.has(match.name)) return 'rules change this set while packets pass';
      const address = addressOf(match.of[0] ?? 'destination', state, packet);
      return `${match.of[0] ?? ''} ${address === undefined ? 'not known' : formatAddress(family, address)}`;
    }
    case 'state':
      return 'the first packet of a connection';
    case 'unknown':
      return match.reason;
    case 'family':
      return `IPv${family}`;
    case 'constant':
    case 'any':
      return 'its values';
  }
}
