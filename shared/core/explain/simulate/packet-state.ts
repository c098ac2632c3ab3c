import type { AddressField, Direction, Hook, MarkField, Rule, Side, Ternary } from '../model';
import { fullMask } from '../ranges';
import type { Snapshot } from '../snapshot';
import type { Packet } from './packet';

/** A mark. Only the bits that are set in `known` have a known value. */
export interface Mark {
  readonly value: number;
  readonly known: number;
}

const noMark: Mark = { value: 0, known: fullMask };
export const unknownMark: Mark = { value: 0, known: 0 };

export interface Translation {
  readonly by: Rule;
  /** Identifies the rule in the `key` of the state. */
  readonly ruleId: number;
  /** The possible new source addresses. An empty list means that the new source is unknown. */
  readonly sources: readonly bigint[];
}

interface PacketFields {
  readonly destination: bigint | undefined;
  readonly destinationPort: number | undefined;
  readonly isTranslated: boolean;
  readonly isTracked: boolean;
  readonly packetMark: Mark;
  readonly connectionMark: Mark;
  readonly out: string | undefined;
  /** The address of the next hop. If the destination is a neighbour, it is the destination itself. */
  readonly nextHop: bigint | undefined;
  /** What the dump lacks to determine `out`. Undefined if it lacks nothing. */
  readonly missingRoute: string | undefined;
  /** Present once a rule has changed the source. */
  readonly translation: Translation | undefined;
}

/** The properties that change while the packet passes through the node. `undefined` means unknown. */
export interface PacketState extends PacketFields {
  /** Identifies the state. States with equal fields have the same key. */
  readonly key: string;
}

export const initialState = ({ destination, destinationPort }: Packet): PacketState =>
  withKey({
    destination: destination.value,
    destinationPort,
    isTranslated: false,
    isTracked: true,
    packetMark: noMark,
    connectionMark: noMark,
    out: undefined,
    nextHop: undefined,
    missingRoute: undefined,
    translation: undefined,
  });

export const changeState = (state: PacketState, changes: Partial<PacketFields>): PacketState =>
  withKey({ ...state, ...changes });

function withKey(fields: PacketFields): PacketState {
  const { packetMark, connectionMark, translation } = fields;
  const key = [
    fields.destination,
    fields.destinationPort,
    fields.isTranslated,
    fields.isTracked,
    fields.out,
    fields.nextHop,
    packetMark.value,
    packetMark.known,
    connectionMark.value,
    connectionMark.known,
    translation?.ruleId,
    translation?.sources.join(' '),
  ].join('|');
  return { ...fields, key };
}

/** The data that a match needs in addition to the state. */
export interface MatchContext {
  readonly snapshot: Snapshot;
  readonly packet: Packet;
  /** The interface on which the packet arrived. Empty if the node itself sends the packet. */
  readonly in: string | undefined;
  readonly hook: Hook;
  /** True in table raw and in other chains that run before conntrack. */
  readonly isBeforeConntrack: boolean;
}

export const hasConnection = (
  { isTracked }: PacketState,
  { isBeforeConntrack }: Pick<MatchContext, 'isBeforeConntrack'>,
): boolean => isTracked && !isBeforeConntrack;

export function addressOf(field: AddressField, state: PacketState, packet: Packet): bigint | undefined {
  switch (field) {
    case 'destination':
      return state.destination;
    case 'original-destination':
      return packet.destination.value;
    case 'source':
      return state.translation ? singleOrUndefined(state.translation.sources) : packet.source.value;
    case 'original-source':
      return packet.source.value;
  }
}

const singleOrUndefined = ([first, ...others]: readonly bigint[]) =>
  others.length === 0 ? first : undefined;

export function portOf(field: AddressField, state: PacketState, packet: Packet): number | undefined {
  switch (field) {
    case 'destination':
      return state.destinationPort;
    case 'original-destination':
      return packet.destinationPort;
    case 'source':
    case 'original-source':
      return packet.sourcePort;
  }
}

export const hasPorts = ({ protocol }: Packet) => protocol === 'tcp' || protocol === 'udp';

export const markOf = (field: MarkField, state: PacketState): Mark =>
  field === 'packet' ? state.packetMark : state.connectionMark;

/** @returns an empty string if the packet has no such interface, or undefined if the interface is unknown */
export function interfaceOf(
  direction: Direction,
  state: PacketState,
  context: MatchContext,
): string | undefined {
  if (direction === 'in') return context.in;
  return context.hook === 'prerouting' ? '' : state.out;
}

export function evaluateInterface(
  { direction, names }: { direction: Direction; names: readonly string[] },
  state: PacketState,
  context: MatchContext,
): Ternary {
  if (names.includes('+')) return true;
  const name = interfaceOf(direction, state, context);
  const matched: Ternary = name === undefined ? 'unknown' : matchesName(names, name);
  // Before Linux 5.7, packets had no incoming interface in POSTROUTING.
  const isUncertain = direction === 'in' && context.hook === 'postrouting';
  return isUncertain && matched !== matchesName(names, '') ? 'unknown' : matched;
}

/** Whether a pattern matches the name. A pattern that ends with `+` matches every name that has that prefix. */
const matchesName = (patterns: readonly string[], name: string) =>
  patterns.some((pattern) =>
    pattern.endsWith('+') ? name.startsWith(pattern.slice(0, -1)) : pattern === name,
  );

export const directionOf = (side: Side): Direction => (side === 'source' ? 'in' : 'out');

/**
 * The maximum number of states at one rule. If there are more, they are merged into fewer states with more unknown
 * fields.
 */
const maxStates = 64;

/** A set of states, without duplicates. */
export class PacketStates {
  private readonly byKey = new Map<string, PacketState>();

  constructor(states: Iterable<PacketState> = []) {
    this.addAll(states);
  }

  add(state: PacketState): void {
    this.byKey.set(state.key, state);
  }

  addAll(states: Iterable<PacketState>): void {
    for (const state of states) this.add(state);
  }

  get size(): number {
    return this.byKey.size;
  }

  get list(): PacketState[] {
    const states = [...this.byKey.values()];
    return states.length > maxStates ? mergeStates(states) : states;
  }
}

/** Merges states with the same tracking and translation. Fields with different values become unknown. */
function mergeStates(states: readonly PacketState[]): PacketState[] {
  const groups = new Map<string, PacketState>();
  for (const state of states) {
    const { translation, isTracked, isTranslated } = state;
    const key = [isTracked, isTranslated, translation?.ruleId].join('|');
    const other = groups.get(key);
    groups.set(key, other ? mergePair(other, state) : state);
  }
  return [...groups.values()];
}

function mergePair(a: PacketState, b: PacketState): PacketState {
  const ifSame = <T>(one: T, other: T) => (one === other ? one : undefined);
  return changeState(a, {
    destination: ifSame(a.destination, b.destination),
    destinationPort: ifSame(a.destinationPort, b.destinationPort),
    packetMark: mergeMarks(a.packetMark, b.packetMark),
    connectionMark: mergeMarks(a.connectionMark, b.connectionMark),
    out: ifSame(a.out, b.out),
    nextHop: ifSame(a.nextHop, b.nextHop),
    translation: a.translation && mergeSources(a.translation, b.translation?.sources ?? []),
  });
}

function mergeSources(translation: Translation, others: readonly bigint[]): Translation {
  const isKnown = translation.sources.length > 0 && others.length > 0;
  return { ...translation, sources: isKnown ? [...new Set([...translation.sources, ...others])] : [] };
}

function mergeMarks(a: Mark, b: Mark): Mark {
  const known = (a.known & b.known & ~(a.value ^ b.value)) >>> 0;
  return { value: (a.value & known) >>> 0, known };
}
