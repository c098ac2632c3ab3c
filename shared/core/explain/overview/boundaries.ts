import type { Condition, Family, Range, RuleMatch } from '../model';
import { addressBits, prefixRange, singleRange } from '../ranges';
import { sortedBoundaries } from '../simulate/range-index';
import type { AddressSet, Snapshot } from '../snapshot';

/**
 * Divides the address space at every destination that a rule, a set, a route or an address of the node distinguishes.
 * Two destinations in one of the resulting ranges are treated alike by every rule and route.
 * @param additional ranges that are kept apart as well
 */
export function destinationRanges(snapshot: Snapshot, family: Family, additional: readonly Range[]): Range[] {
  const end = 1n << BigInt(addressBits(family));
  const ranges = [...distinguishedRanges(snapshot, family), ...additional];
  const starts = sortedBoundaries(ranges).filter((start) => start < end);
  return starts.map((first, index) => ({ first, last: (starts[index + 1] ?? end) - 1n }));
}

function* distinguishedRanges(snapshot: Snapshot, family: Family): Generator<Range> {
  yield* specialRanges[family];
  for (const table of new Set(snapshot.baseChains.map((baseChain) => baseChain.table)))
    for (const chain of table.chains.values())
      for (const { matches } of chain.rules) yield* rangesOfMatches(matches, family);
  for (const set of snapshot.sets.values()) yield* rangesOfSet(set, family);
  for (const { address, prefix, broadcast, ...own } of snapshot.addresses) {
    if (own.family !== family) continue;
    const subnet = prefixRange(family, address, prefix);
    yield subnet;
    yield* [address, subnet.last, ...(broadcast === undefined ? [] : [broadcast])].map(singleRange);
  }
  for (const route of snapshot.routes)
    if (route.family === family) yield prefixRange(family, route.first, route.prefix);
  for (const rule of snapshot.routingRules) if (rule.family === family && rule.to) yield rule.to;
}

/** Ranges that the kernel treats differently without any rule: loopback, multicast and broadcast. */
const specialRanges: Readonly<Record<Family, readonly Range[]>> = {
  4: [
    prefixRange(4, 0n, 8),
    prefixRange(4, 127n << 24n, 8),
    prefixRange(4, 224n << 24n, 4),
    singleRange(0xffffffffn),
  ],
  6: [prefixRange(6, 0xffn << 120n, 8)],
};

function* rangesOfMatches(matches: readonly RuleMatch[], family: Family): Generator<Range> {
  for (const match of matches) yield* rangesOfCondition(match, family);
}

function* rangesOfCondition(condition: Condition, family: Family): Generator<Range> {
  if (condition.kind === 'any')
    for (const matches of condition.alternatives) yield* rangesOfMatches(matches, family);
  const isDestination =
    condition.kind === 'address' &&
    condition.family === family &&
    (condition.field === 'destination' || condition.field === 'original-destination');
  if (isDestination) yield* condition.ranges;
}

function* rangesOfSet(set: AddressSet, family: Family): Generator<Range> {
  if (set.kind === 'list' || (set.family ?? family) !== family) return;
  for (const { parts } of set.entries)
    for (const part of parts)
      if (part.kind === 'address')
        // With `netmask`, the set compares only the first bits of an address.
        yield {
          first: prefixRange(family, part.range.first, set.prefix).first,
          last: prefixRange(family, part.range.last, set.prefix).last,
        };
}
