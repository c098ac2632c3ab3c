/** A reproducible random number generator (mulberry32). */
export class SeededRandom {
  constructor(private state: number) {}

  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  }

  integerBelow(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(values: readonly T[]): T {
    const value = values[this.integerBelow(values.length)];
    if (value === undefined) throw new Error('nothing to pick from');
    return value;
  }

  /** Returns a random subset of the values, in order. Each value is included with the given probability. */
  some<T>(values: readonly T[], probability = 0.4): T[] {
    return values.filter(() => this.chance(probability));
  }
}
