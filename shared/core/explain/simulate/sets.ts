import { memoizeByObject } from '../../util/functional';
import { allOf, anyOf, type Side, type Ternary } from '../model';
import { addressBits, contains, prefixRange, protocolNumber } from '../ranges';
import type { AddressSet, SetEntry, SetEntryPart } from '../snapshot';
import {
  addressOf,
  directionOf,
  evaluateInterface,
  hasPorts,
  portOf,
  type MatchContext,
  type PacketState,
} from './packet-state';
import { RangeIndex } from './range-index';

interface SetMatch {
  readonly name: string;
  readonly sides: readonly Side[];
}

/** The maximum depth of nested lists, which is deeper than ipset allows. */
const maxListDepth = 4;

/** Whether an ipset contains the packet's addresses and ports. */
export function evaluateSet(match: SetMatch, state: PacketState, context: MatchContext): Ternary {
  return new SetEvaluation(state, context).set(match, 0);
}

type EntrySet = Extract<AddressSet, { kind: 'entries' }>;

/** With `netmask`, a set compares only the first bits of an address. */
const comparedAddress = ({ family, prefix }: Pick<EntrySet, 'family' | 'prefix'>, address: bigint) =>
  family === undefined || prefix === addressBits(family)
    ? address
    : prefixRange(family, address, prefix).first;

/** Indexes the entries by the first part that is an address, because a set can have tens of thousands of entries. */
const indexOf = memoizeByObject(({ entries }: EntrySet) => {
  const first = entries[0]?.parts.findIndex(({ kind }) => kind === 'address') ?? 0;
  const dimension = Math.max(first, 0);
  const rangesOf = ({ parts }: SetEntry) => {
    const part = parts[dimension];
    return part?.kind === 'address' ? [part.range] : undefined;
  };
  return {
    dimension,
    index: new RangeIndex(entries.map((item) => ({ item, ranges: rangesOf(item) }))),
    hasExceptions: entries.some(({ isExcluded }) => isExcluded),
  };
});

class SetEvaluation {
  constructor(
    private readonly state: PacketState,
    private readonly context: MatchContext,
  ) {}

  set({ name, sides }: SetMatch, depth: number): Ternary {
    const { snapshot, packet } = this.context;
    const set = snapshot.sets.get(name);
    if (!set || snapshot.changingSets.has(name) || depth > maxListDepth) return 'unknown';
    if (set.kind === 'list')
      return anyOf(set.members.map((member) => this.set({ name: member, sides }, depth + 1)));
    if (set.family !== undefined && set.family !== packet.source.family) return false;
    return this.entries(set, sides);
  }

  private entries(set: EntrySet, sides: readonly Side[]): Ternary {
    const { dimensions, prefix, hasManyNetworks } = set;
    const { dimension, index, hasExceptions } = indexOf(set);
    if (sides.length < dimensions) return 'unknown';
    if (hasManyNetworks && hasExceptions) return 'unknown';
    const address = addressOf(sides[dimension] ?? 'source', this.state, this.context.packet);
    const candidates: Candidate[] = [];
    for (const entry of index.find(address && comparedAddress(set, address))) {
      const matched = allOf(
        entry.parts.map((part, index) => this.part(part, sides[index] ?? 'source', prefix)),
      );
      if (matched !== false) candidates.push({ entry, matched });
    }
    return mostSpecific(candidates);
  }

  private part(part: SetEntryPart, side: Side, prefix: number): Ternary {
    switch (part.kind) {
      case 'address':
        return this.address(part, side, prefix);
      case 'port':
        return this.port(part, side);
      case 'interface':
        return evaluateInterface(
          { direction: directionOf(side), names: [part.name] },
          this.state,
          this.context,
        );
      case 'unknown':
        return 'unknown';
    }
  }

  private address(
    { family, range }: Extract<SetEntryPart, { kind: 'address' }>,
    side: Side,
    prefix: number,
  ): Ternary {
    const { packet } = this.context;
    const address = addressOf(side, this.state, packet);
    if (address === undefined) return 'unknown';
    return family === packet.source.family && contains([range], comparedAddress({ family, prefix }, address));
  }

  private port({ protocols, ports }: Extract<SetEntryPart, { kind: 'port' }>, side: Side): Ternary {
    const { packet } = this.context;
    if (protocols && !contains(protocols, protocolNumber(packet.protocol) ?? -1)) return false;
    if (!hasPorts(packet)) return protocols ? 'unknown' : false;
    const port = portOf(side, this.state, packet);
    return !ports || port === undefined ? 'unknown' : contains([ports], port);
  }
}

/** An entry that matches or may match. */
interface Candidate {
  readonly entry: SetEntry;
  readonly matched: true | 'unknown';
}

/** Returns the result of the entry with the longest prefix, because that entry takes precedence. */
function mostSpecific(candidates: readonly Candidate[]): Ternary {
  const sorted = candidates.toSorted((a, b) => b.entry.prefix - a.entry.prefix);
  const certain = sorted.findIndex(({ matched }) => matched === true);
  const deciding = certain < 0 ? sorted : sorted.slice(0, certain + 1);
  const outcomes = new Set(deciding.map(({ entry }) => !entry.isExcluded));
  if (certain < 0) outcomes.add(false);
  const [outcome] = outcomes;
  return outcomes.size === 1 && outcome !== undefined ? outcome : 'unknown';
}
