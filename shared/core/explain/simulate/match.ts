import {
  allOf,
  anyOf,
  not,
  type Condition,
  type PortField,
  type Range,
  type RuleMatch,
  type Ternary,
} from '../model';
import { contains, protocolNumber } from '../ranges';
import type { Packet } from './packet';
import {
  addressOf,
  evaluateInterface,
  hasConnection,
  hasPorts,
  markOf,
  portOf,
  type Mark,
  type MatchContext,
  type PacketState,
} from './packet-state';
import { isBroadcast, isLocal, isMulticast } from './routing';
import { evaluateSet } from './sets';

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

export function evaluateMatch(match: RuleMatch, state: PacketState, context: MatchContext): Ternary {
  // A match on the connection mark fails if there is no connection, even if the match is negated
  // (net/netfilter/xt_connmark.c, nft_ct.c).
  if (match.kind === 'mark' && match.field === 'connection' && !hasConnection(state, context)) return false;
  const matched = evaluateCondition(match, state, context);
  return match.isNegated ? not(matched) : matched;
}

/**
 * Evaluates a match on the source, the protocol or the address family, which are the same for all packets from one pod.
 * @returns undefined for matches that also depend on other properties of the packet
 */
export function evaluateConstant(
  match: RuleMatch,
  { source, protocol }: Pick<Packet, 'source' | 'protocol'>,
): boolean | undefined {
  const matched = evaluateConstantCondition(match, source, protocol);
  return matched !== undefined && match.isNegated ? !matched : matched;
}

function evaluateConstantCondition(
  condition: Condition,
  source: Packet['source'],
  protocol: Packet['protocol'],
): boolean | undefined {
  switch (condition.kind) {
    case 'address': {
      const isSource = condition.field === 'source' || condition.field === 'original-source';
      if (!isSource) return undefined;
      return condition.family === source.family && contains(condition.ranges, source.value);
    }
    case 'protocol':
      return contains(condition.ranges, protocolNumber(protocol) ?? -1);
    case 'family':
      return condition.family === source.family;
    case 'constant':
      return condition.matched;
    default:
      return undefined;
  }
}

function evaluateCondition(condition: Condition, state: PacketState, context: MatchContext): Ternary {
  const { packet } = context;
  switch (condition.kind) {
    case 'address': {
      if (condition.family !== packet.source.family) return false;
      const address = addressOf(condition.field, state, packet);
      return address === undefined ? 'unknown' : contains(condition.ranges, address);
    }
    case 'interface':
      return evaluateInterface(condition, state, context);
    case 'protocol':
      return contains(condition.ranges, protocolNumber(packet.protocol) ?? -1);
    case 'port':
      return evaluatePort(condition, state, packet);
    case 'mark':
      return evaluateMark(condition, markOf(condition.field, state));
    case 'addrtype':
      return evaluateAddrtype(condition, state, context);
    case 'set':
      return evaluateSet(condition, state, context);
    case 'state':
      return evaluateState(condition.states, state, context);
    case 'tcp-flags':
      return (
        packet.protocol === 'tcp' &&
        condition.mask.includes('SYN') === condition.set.includes('SYN') &&
        condition.set.every((flag) => flag === 'SYN')
      );
    case 'icmp':
      return echoRequests[packet.protocol] === condition.type && (condition.code ?? 0) === 0;
    case 'family':
      return condition.family === packet.source.family;
    case 'constant':
      return condition.matched;
    case 'any':
      return anyOf(condition.alternatives.map((matches) => evaluateMatches(matches, state, context)));
    case 'unknown':
      return 'unknown';
  }
}

type ConditionOf<Kind extends Condition['kind']> = Extract<Condition, { kind: Kind }>;

function evaluatePort({ field, ranges }: ConditionOf<'port'>, state: PacketState, packet: Packet): Ternary {
  if (!hasPorts(packet)) return false;
  return anyOf(
    sidesOf(field).map((side) => {
      const port = portOf(side, state, packet);
      return port === undefined ? evaluateUnknownPort(ranges) : contains(ranges, port);
    }),
  );
}

const sidesOf = (field: PortField) =>
  field === 'either' ? (['source', 'destination'] as const) : ([field] as const);

const evaluateUnknownPort = (ranges: readonly Range<number>[]): Ternary =>
  ranges.some(({ first, last }) => first === 0 && last === 65535) || 'unknown';

function evaluateMark({ mask, ranges }: ConditionOf<'mark'>, { value, known }: Mark): Ternary {
  const knownMask = (known & mask) >>> 0;
  if (knownMask === mask >>> 0) return contains(ranges, (value & mask) >>> 0);
  const isPossible = ranges.some(({ first, last }) => first !== last || ((first ^ value) & knownMask) === 0);
  return isPossible ? 'unknown' : false;
}

function evaluateAddrtype(
  { side, types, limitTo, hasSingleType }: ConditionOf<'addrtype'>,
  state: PacketState,
  context: MatchContext,
): Ternary {
  const { packet, snapshot } = context;
  const { family } = packet.source;
  const address = addressOf(side, state, packet);
  const device = limitTo && (limitTo === 'in' ? context.in : state.out);
  if (address === undefined || (limitTo && device === undefined)) return 'unknown';
  const query = { family, address, device };
  const isElsewhere = side === 'destination' && isRoutedElsewhere(state, context);
  const local = isLocal(snapshot, query) ?? (isElsewhere ? false : 'unknown');
  const broadcast = isBroadcast(snapshot, query) ?? 'unknown';
  const multicast = isMulticast(family, address);
  return anyOf(
    types.map((type): Ternary => {
      switch (type) {
        case 'LOCAL':
          return local;
        case 'BROADCAST':
          return allOf([not(local), broadcast]);
        case 'MULTICAST':
          return multicast;
        case 'UNICAST':
          // In iptables a LOCAL address of IPv6 is also UNICAST (net/netfilter/xt_addrtype.c).
          return allOf([(family === 6 && !hasSingleType) || not(local), not(broadcast), !multicast]);
        default:
          return 'unknown';
      }
    }),
  );
}

/** Whether the packet is leaving the node, which means that its destination is not the node itself. */
function isRoutedElsewhere({ out }: PacketState, { hook, packet }: MatchContext): boolean {
  const isAfterRouting = hook === 'postrouting' || hook === 'forward';
  return isAfterRouting && out !== 'lo' && (!packet.isFromNode || out !== undefined);
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

/** The ICMP type of a ping. Pings are the only ICMP packets that are simulated. */
const echoRequests = { icmp: 8, icmpv6: 128, tcp: undefined, udp: undefined };
