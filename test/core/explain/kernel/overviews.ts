import { explain } from '../../../../shared/core/explain/explain';
import type { Explanation } from '../../../../shared/core/explain/explanation';
import {
  overviewOf,
  type Outcome,
  type OverviewEntry,
} from '../../../../shared/core/explain/overview/overview';
import { contains, formatAddress } from '../../../../shared/core/explain/ranges';
import { parseSnapshot } from '../../../../shared/core/explain/parse/snapshot';
import { parseAddress } from '../../../../shared/core/model/cidr';
import type { SentPacket } from './lab';
import { SeededRandom } from './random';

export interface OverviewTally {
  /** The number of destinations for which the overview was compared with a single question. */
  readonly destinations: number;
  readonly disagreements: readonly string[];
}

const destinationsPerDump = 12;

/**
 * Compares the overview of a dump with the answers for single destinations: addresses at the edges of the ranges, and
 * random addresses inside them.
 */
export function checkOverview(dump: string, sent: SentPacket, seed: number): OverviewTally {
  const snapshot = parseSnapshot(dump);
  const { protocol, isFromNode } = sent;
  const packet = { source: parseAddress(sent.source), protocol, isFromNode };
  const { entries } = overviewOf(snapshot, packet);
  const random = new SeededRandom(seed);
  const disagreements = Array.from({ length: destinationsPerDump }, () => {
    const value = addressIn(random.pick(entries), random);
    const { family } = packet.source;
    const destination = { family, value, text: formatAddress(family, value) };
    const answer = describeExplanation(
      explain(snapshot, { ...packet, destination }, { assumeComplete: true }),
    );
    const listed = entries.filter((entry) => contains([entry], value)).map(describeEntry);
    return listed.join(' and ') === answer
      ? []
      : [`${destination.text}: the overview says ${listed.join(' and ')}, explain ${answer}\n${dump}`];
  });
  return { destinations: destinationsPerDump, disagreements: disagreements.flat() };
}

function addressIn({ first, last }: OverviewEntry, random: SeededRandom): bigint {
  const offset = (BigInt(Math.floor(random.next() * 2 ** 32)) * (last - first + 1n)) >> 32n;
  return random.pick([first, last, first + offset]);
}

const describeEntry = ({ outcome, sources, mayBeDropped }: OverviewEntry) =>
  [outcome, ...sources, ...(mayBeDropped ? ['or dropped'] : [])].join(' ');

function describeExplanation(explanation: Explanation): string {
  const outcome = outcomeOf(explanation);
  const leaves = outcome !== 'dropped' && outcome !== 'stays-on-node';
  const sources = leaves ? explanation.sources : [];
  return [outcome, ...sources, ...(explanation.mayBeDropped ? ['or dropped'] : [])].join(' ');
}

function outcomeOf({ cause, masqueraded }: Explanation): Outcome {
  if (cause === 'dropped' || cause === 'stays-on-node') return cause;
  if (masqueraded === 'unknown') return 'unknown';
  return masqueraded ? 'masqueraded' : 'not-masqueraded';
}
