import { bitsOf, holds, printAddress, readSpan, spanOf } from './address';
import type {
  AddressSet,
  Answer,
  Hook,
  Mark,
  MarkOf,
  Match,
  PortOf,
  Rule,
  Snapshot,
  Span,
  Test,
} from './model';
import { isBroadcast, isLocal, isMulticast } from './network';
import type { Packet } from './packet';
import { protocolTest, readPorts } from './options';

/** What changes while the packet passes through the node. `undefined`: not known. */
export interface State {
  readonly destination: bigint | undefined;
  readonly destinationPort: number | undefined;
  readonly isTranslated: boolean;
  readonly isTracked: boolean;
  readonly packetMark: Mark;
  readonly connectionMark: Mark;
  readonly out: string | undefined;
  /** The next hop; the destination itself where it is a neighbour. */
  readonly hop: bigint | undefined;
  /** Once a rule has given it another source. */
  readonly translation: Translation | undefined;
}

export interface Translation {
  readonly by: Rule;
  /** One of these; which ones is not known where the list is empty. */
  readonly sources: readonly bigint[];
}

/** All that a match can look at. */
export interface View {
  readonly snapshot: Snapshot;
  readonly packet: Packet;
  /** The interface it came in by: '' for the node's own packets. */
  readonly in: string | undefined;
  readonly hook: Hook;
  /** Chains of table raw, and others that come before conntrack. */
  readonly isBeforeConntrack: boolean;
}

const protocolNumbers = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;

const not = (answer: Answer): Answer => (answer === 'unknown' ? answer : !answer);

export function every(answers: Iterable<Answer>): Answer {
  let result: Answer = true;
  for (const answer of answers) {
    if (answer === false) return false;
    if (answer === 'unknown') result = answer;
  }
  return result;
}

export function some(answers: Iterable<Answer>): Answer {
  let result: Answer = false;
  for (const answer of answers) {
    if (answer === true) return true;
    if (answer === 'unknown') result = answer;
  }
  return result;
}

export function isMatch(match: Match, state: State, view: View): Answer {
  // Without a connection there is nothing to compare, negated or not (net/netfilter/xt_connmark.c, nft_ct.c).
  if (match.kind === 'mark' && match.of === 'connection' && !hasConnection(state, view)) return false;
  const answer = test(match, state, view);
  return match.negated ? not(answer) : answer;
}

export const hasConnection = (
  { isTracked }: State,
  { isBeforeConntrack }: Pick<View, 'isBeforeConntrack'>,
): boolean => isTracked && !isBeforeConntrack;

export function doAllMatch(matches: readonly Match[], state: State, view: View): Answer {
  let result: Answer = true;
  for (const match of matches) {
    const answer = isMatch(match, state, view);
    if (answer === false) return false;
    if (answer === 'unknown') result = answer;
  }
  return result;
}

function test(asked: Test, state: State, view: View): Answer {
  const { packet } = view;
  switch (asked.kind) {
    case 'address': {
      const value = addressOf(asked.of, state, packet);
      if (asked.family !== packet.source.family) return false;
      return value === undefined ? 'unknown' : holds(asked.spans, value);
    }
    case 'interface':
      return interfaceTest(asked, state, view);
    case 'protocol':
      return holds(asked.spans, protocolNumbers[packet.protocol]);
    case 'port':
      return portTest(asked.of, asked.spans, state, packet);
    case 'mark':
      return markTest(markOf(asked.of, state), asked.mask, asked.spans);
    case 'addrtype':
      return addrtypeTest(asked, state, view);
    case 'set':
      return setTest(asked.name, asked.of, state, view, 0);
    case 'state':
      return stateTest(asked.states, state, view);
    case 'tcp-flags':
      return (
        packet.protocol === 'tcp' &&
        asked.mask.includes('SYN') === asked.set.includes('SYN') &&
        asked.set.every((flag) => flag === 'SYN')
      );
    case 'icmp':
      return icmpTest(asked.type, asked.code, packet);
    case 'family':
      return asked.family === packet.source.family;
    case 'constant':
      return asked.answer;
    case 'any':
      return some(asked.alternatives.map((matches) => doAllMatch(matches, state, view)));
    case 'unknown':
      return 'unknown';
  }
}

function addressOf(of: string, state: State, packet: Packet): bigint | undefined {
  switch (of) {
    case 'destination':
      return state.destination;
    case 'original-destination':
      return packet.destination.first;
    case 'source':
      return state.translation ? onlyOne(state.translation.sources) : packet.source.first;
    default:
      return packet.source.first;
  }
}

const onlyOne = ([first, ...others]: readonly bigint[]) => (others.length === 0 ? first : undefined);

function portOf(
  of: 'source' | 'destination' | 'original-source' | 'original-destination',
  state: State,
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

function portTest(of: PortOf, spans: readonly Span<number>[], state: State, packet: Packet): Answer {
  if (!hasPorts(packet)) return false;
  const sides = of === 'either' ? (['source', 'destination'] as const) : [of];
  return some(
    sides.map((side) => {
      const port = portOf(side, state, packet);
      return port === undefined ? allPorts(spans) : holds(spans, port);
    }),
  );
}

const allPorts = (spans: readonly Span<number>[]): Answer =>
  spans.some(({ first, last }) => first === 0 && last === 65535) || 'unknown';

export const markOf = (of: MarkOf, state: State): Mark =>
  of === 'packet' ? state.packetMark : state.connectionMark;

function markTest({ value, known }: Mark, mask: number, spans: readonly Span<number>[]): Answer {
  const isKnown = (known & mask) >>> 0 === mask >>> 0;
  if (isKnown) return holds(spans, (value & mask) >>> 0);
  const seen = (known & mask) >>> 0;
  const isPossible = spans.some(({ first, last }) => first !== last || ((first ^ value) & seen) === 0);
  return isPossible ? 'unknown' : false;
}

/** `+` at the end stands for any end. */
const fits = (pattern: string, name: string) =>
  pattern.endsWith('+') ? name.startsWith(pattern.slice(0, -1)) : pattern === name;

function interfaceTest(
  { of, names }: Extract<Test, { kind: 'interface' }>,
  state: State,
  view: View,
): Answer {
  if (names.includes('+')) return true;
  const isNamed = (name: string | undefined): Answer =>
    name === undefined ? 'unknown' : names.some((pattern) => fits(pattern, name));
  if (of === 'out') return isNamed(view.hook === 'prerouting' ? '' : state.out);
  if (view.hook !== 'postrouting') return isNamed(view.in);
  // Before Linux 5.7 no packet in POSTROUTING had an incoming interface.
  const answers = [isNamed(view.in), isNamed('')];
  return answers[0] === answers[1] ? (answers[0] ?? 'unknown') : 'unknown';
}

function addrtypeTest(
  { of, types, on, isOne }: Extract<Test, { kind: 'addrtype' }>,
  state: State,
  view: View,
): Answer {
  const { packet, snapshot, hook } = view;
  const address = addressOf(of, state, packet);
  const { family } = packet.source;
  const device = on === 'in' ? view.in : on === 'out' ? state.out : undefined;
  if (address === undefined || (on && device === undefined)) return 'unknown';
  const at = on ? device : undefined;
  const leaves = of === 'destination' && (hook === 'postrouting' || hook === 'forward') && state.out !== 'lo';
  const local =
    isLocal(snapshot, family, address, at) ??
    (leaves && (!packet.isFromNode || state.out !== undefined) ? false : 'unknown');
  const broadcast = family === 6 ? false : (isBroadcast(snapshot, address, at) ?? 'unknown');
  const multicast = isMulticast(family, address);
  return some(
    types.map((type): Answer => {
      switch (type) {
        case 'LOCAL':
          return local;
        case 'BROADCAST':
          return every([not(local), broadcast]);
        case 'MULTICAST':
          return multicast;
        case 'UNICAST':
          // Of IPv6 LOCAL is UNICAST too for iptables (net/netfilter/xt_addrtype.c).
          return every([(family === 6 && !isOne) || not(local), not(broadcast), !multicast]);
        default:
          return 'unknown';
      }
    }),
  );
}

function stateTest(
  states: readonly string[],
  { isTracked, isTranslated }: State,
  { isBeforeConntrack }: View,
): Answer {
  if (isBeforeConntrack) return 'unknown';
  if (!isTracked) return states.includes('UNTRACKED');
  return states.includes('NEW') || (isTranslated && states.includes('DNAT'));
}

function icmpTest(type: number, code: number | undefined, { protocol }: Packet): Answer {
  const echo = { icmp: 8, icmpv6: 128, tcp: undefined, udp: undefined }[protocol];
  return echo === type && (code ?? 0) === 0;
}

/** Deeper than ipset allows lists to be in lists. */
const maxListDepth = 4;

function setTest(
  name: string,
  of: readonly ('source' | 'destination')[],
  state: State,
  view: View,
  depth: number,
): Answer {
  const set = view.snapshot.sets.get(name);
  if (!set || view.snapshot.changingSets.has(name) || depth > maxListDepth) return 'unknown';
  if (set.type === 'list:set') {
    return some(set.entries.map(({ text }) => setTest(text, of, state, view, depth + 1)));
  }
  if (set.type !== 'bitmap:port' && set.family !== view.packet.source.family) return false;
  const [, dimensions = ''] = set.type.split(':');
  return entriesTest(set, dimensions.split(','), of, state, view);
}

function entriesTest(
  set: AddressSet,
  dimensions: readonly string[],
  of: readonly ('source' | 'destination')[],
  state: State,
  view: View,
): Answer {
  if (of.length < dimensions.length) return 'unknown';
  // The narrowest range decides; which that is among entries of two ranges is not told here.
  if (
    dimensions.filter((dimension) => dimension === 'net').length > 1 &&
    set.entries.some((entry) => entry.isExcluded)
  ) {
    return 'unknown';
  }
  const found: { prefix: number; isExcluded: boolean; answer: Answer }[] = [];
  for (const { text, isExcluded } of set.entries) {
    const parts = text.split(',');
    const answer = every(
      dimensions.map((dimension, index) =>
        partTest(dimension, parts[index] ?? '', of[index] ?? 'source', set, state, view),
      ),
    );
    if (answer !== false) found.push({ prefix: prefixIn(parts), isExcluded, answer });
  }
  return narrowest(found);
}

const prefixIn = (parts: readonly string[]) =>
  Number(parts.find((part) => part.includes('/'))?.split('/')[1] ?? 128);

function narrowest(found: readonly { prefix: number; isExcluded: boolean; answer: Answer }[]): Answer {
  const sorted = found.toSorted((a, b) => b.prefix - a.prefix);
  const certain = sorted.findIndex(({ answer }) => answer === true);
  const deciding = certain < 0 ? sorted : sorted.slice(0, certain + 1);
  const outcomes = new Set(deciding.map(({ isExcluded }) => !isExcluded));
  if (certain < 0) outcomes.add(false);
  const [outcome] = outcomes;
  return outcomes.size === 1 && outcome !== undefined ? outcome : 'unknown';
}

function partTest(
  dimension: string,
  text: string,
  of: 'source' | 'destination',
  set: AddressSet,
  state: State,
  view: View,
): Answer {
  switch (dimension) {
    case 'ip':
    case 'net':
      return setAddressTest(text, set, addressOf(of, state, view.packet));
    case 'port':
      return setPortTest(text, of, state, view.packet);
    case 'iface':
      return interfaceTest(
        { kind: 'interface', of: of === 'source' ? 'in' : 'out', names: [text] },
        state,
        view,
      );
    default:
      return 'unknown';
  }
}

function setAddressTest(text: string, { family, prefix }: AddressSet, address: bigint | undefined): Answer {
  const read = readSpan(text);
  if (!read || address === undefined) return 'unknown';
  const counted = prefix === bitsOf(family) ? address : spanOf(family, address, prefix).first;
  return read.family === family && holds([read.span], counted);
}

function setPortTest(text: string, of: 'source' | 'destination', state: State, packet: Packet): Answer {
  const [left = '', right] = text.split(':');
  const protocol = right === undefined ? undefined : protocolTest(left);
  const isProtocol =
    right === undefined ||
    (protocol?.kind === 'protocol' && holds(protocol.spans, protocolNumbers[packet.protocol]));
  if (!isProtocol) return false;
  const span = readPorts(right ?? left);
  if (!hasPorts(packet) || !span) return hasPorts(packet) || right !== undefined ? 'unknown' : false;
  const port = portOf(of, state, packet);
  return port === undefined ? 'unknown' : holds([span], port);
}

/** What the match looked at, in words. */
export function whatIs(match: Match, state: State, view: View): string {
  const { packet } = view;
  const { family } = packet.source;
  switch (match.kind) {
    case 'address': {
      const address = addressOf(match.of, state, packet);
      return `${match.of.replace('-', ' ')} ${address === undefined ? 'not known' : printAddress(family, address)}`;
    }
    case 'interface': {
      const name = match.of === 'in' ? view.in : view.hook === 'prerouting' ? '' : state.out;
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
      const shown = address === undefined ? 'not known' : printAddress(family, address);
      return view.snapshot.addresses.length === 0
        ? `${match.of} ${shown}, and the dump has no addresses of the node`
        : `${match.of} ${shown}`;
    }
    case 'set': {
      if (!view.snapshot.sets.has(match.name)) return 'the dump does not have this set';
      if (view.snapshot.changingSets.has(match.name)) return 'rules change this set while packets pass';
      const address = addressOf(match.of[0] ?? 'destination', state, packet);
      return `${match.of[0] ?? ''} ${address === undefined ? 'not known' : printAddress(family, address)}`;
    }
    case 'state':
      return 'the first packet of a connection';
    case 'unknown':
      return match.why;
    case 'family':
      return `IPv${family}`;
    case 'constant':
    case 'any':
      return 'its values';
  }
}
