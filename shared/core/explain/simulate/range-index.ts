import type { Range } from '../model';

/** An item, and the addresses that it applies to. Without ranges it applies to every address. */
export interface IndexedItem<T> {
  readonly item: T;
  readonly ranges: readonly Range[] | undefined;
}

/**
 * Finds the items whose ranges contain an address, in the order in which they were given. A node can have tens of
 * thousands of rules and set entries, so a lookup must not test each of them. The index is a segment tree: a range is
 * stored in O(log n) nodes, and the nodes above one leaf hold all items that contain the leaf's addresses.
 */
export class RangeIndex<T> {
  private readonly items: readonly T[];
  /** The first address of each leaf, in ascending order. */
  private readonly starts: readonly bigint[];
  /** The positions of the items that are stored in each node, in ascending order. Node 1 is the root. */
  private readonly nodes = new Map<number, number[]>();

  constructor(entries: readonly IndexedItem<T>[]) {
    this.items = entries.map(({ item }) => item);
    this.starts = sortedBoundaries(entries.flatMap(({ ranges }) => ranges ?? []));
    for (const [position, { ranges }] of entries.entries()) {
      if (ranges === undefined) this.store(1, position);
      else for (const range of ranges) this.insert(range, position);
    }
  }

  /** @param address if undefined, all items are returned, because the address is unknown */
  *find(address: bigint | undefined): Generator<T> {
    if (address === undefined) {
      yield* this.items;
      return;
    }
    const positions = this.nodesAbove(address).flatMap((node) => this.nodes.get(node) ?? []);
    let previous = -1;
    for (const position of positions.sort((a, b) => a - b)) {
      const item = this.items[position];
      if (position !== previous && item !== undefined) yield item;
      previous = position;
    }
  }

  private store(node: number, position: number): void {
    const stored = this.nodes.get(node);
    if (!stored) this.nodes.set(node, [position]);
    else stored.push(position);
  }

  private insert({ first, last }: Range, position: number): void {
    const count = this.starts.length;
    let low = count + leafOf(this.starts, first);
    let high = count + leafOf(this.starts, last) + 1;
    for (; low < high; low >>= 1, high >>= 1) {
      if ((low & 1) === 1) this.store(low++, position);
      if ((high & 1) === 1) this.store(--high, position);
    }
  }

  private nodesAbove(address: bigint): number[] {
    const path = [];
    for (let node = this.starts.length + leafOf(this.starts, address); node >= 1; node >>= 1) path.push(node);
    return path;
  }
}

/** Returns the first address of each interval into which the ranges divide the address space, in ascending order. */
export function sortedBoundaries(ranges: Iterable<Range>): bigint[] {
  const boundaries = new Set([0n]);
  for (const { first, last } of ranges) boundaries.add(first).add(last + 1n);
  return [...boundaries].sort((a, b) => (a < b ? -1 : 1));
}

/** Returns the index of the last start that is not greater than the address. */
function leafOf(starts: readonly bigint[], address: bigint): number {
  let low = 0;
  let high = starts.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((starts[middle] ?? 0n) <= address) low = middle;
    else high = middle;
  }
  return low;
}
