import type { Chain, Family, Range, Rule, RuleMatch } from '../model';
import { addressBits } from '../ranges';
import type { Packet } from '../simulate/packet';
import type { PacketState } from '../simulate/packet-state';
import { evaluateConstant } from '../simulate/match';
import { RangeIndex } from '../simulate/range-index';

/**
 * Selects the rules of a chain that can match packets of one source. The other rules are left out because their
 * destination, source or protocol differs, so the result of a walk is the same.
 */
export class RuleIndex {
  private readonly chains = new Map<Chain, RangeIndex<Rule>>();

  constructor(private readonly packet: Pick<Packet, 'source' | 'protocol'>) {}

  rulesFor(chain: Chain, { destination, translation }: PacketState): Iterable<Rule> {
    // A translated packet has a different source than the one for which the rules were selected.
    if (translation) return chain.rules;
    const known = this.chains.get(chain);
    if (known) return known.find(destination);
    const index = this.buildIndex(chain);
    this.chains.set(chain, index);
    return index.find(destination);
  }

  private buildIndex({ rules }: Chain): RangeIndex<Rule> {
    const { family } = this.packet.source;
    const canMatch = ({ matches }: Rule) =>
      matches.every((match) => evaluateConstant(match, this.packet) !== false);
    const possible = rules.filter(canMatch);
    return new RangeIndex(
      possible.map((item) => ({ item, ranges: destinationRanges(item.matches, family) })),
    );
  }
}

/** Returns the destinations that the matches allow; undefined if they do not restrict the destination. */
function destinationRanges(matches: readonly RuleMatch[], family: Family): readonly Range[] | undefined {
  for (const match of matches) {
    if (match.kind !== 'address' || match.field !== 'destination' || match.family !== family) continue;
    return match.isNegated ? complementOf(match.ranges, family) : match.ranges;
  }
  return undefined;
}

function complementOf(ranges: readonly Range[], family: Family): Range[] {
  const end = 1n << BigInt(addressBits(family));
  const gaps: Range[] = [];
  let next = 0n;
  for (const { first, last } of [...ranges].sort((a, b) => (a.first < b.first ? -1 : 1))) {
    if (first > next) gaps.push({ first: next, last: first - 1n });
    if (last >= next) next = last + 1n;
  }
  return next < end ? [...gaps, { first: next, last: end - 1n }] : gaps;
}
