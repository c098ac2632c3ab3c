import { printAddress } from './address';
import { causeOf } from './cause';
import { cureFor } from './cure';
import type { Snapshot } from './model';
import type { Explanation, Packet, Place } from './packet';
import { pathOf } from './path';
import { walk, type Fate, type Sight } from './walk';

/**
 * Follows the first packet of a connection through the rules of a node. What the dump or the packet does not
 * tell is not guessed: both outcomes are followed, and the answer is `unknown` where they differ.
 */
export function explain(snapshot: Snapshot, packet: Packet): Explanation {
  const walked = walk(snapshot, packet);
  const leaving = walked.fates.filter((fate) => fate.kind === 'leaves');
  const translated = leaving.filter(({ translation }) => translation !== undefined);
  const { cause, reason, backend, cure = null } = causeOf(snapshot, packet, walked);
  const sources = sourcesOf(leaving, packet);
  const isComplete = leaving.every(({ translation }) => translation?.sources.length !== 0);
  return {
    masqueraded:
      translated.length === leaving.length ? leaving.length > 0 : translated.length > 0 ? 'unknown' : false,
    source: isComplete && sources.length === 1 ? (sources[0] ?? null) : null,
    sources,
    destinations: destinationsOf(leaving, packet),
    redirectedBy: walked.sights.filter(isRedirecting).map(({ rule }) => rule.text),
    mayBeDropped: leaving.length > 0 && walked.fates.some(({ kind }) => kind === 'dropped'),
    ...pathOf(walked.sights),
    cause,
    reason,
    cure: backend ? cureFor(snapshot, packet, backend) : cure,
  };
}

type Leaving = readonly Extract<Fate, { kind: 'leaves' }>[];

const isRedirecting = ({ rule, answer }: Sight) =>
  answer !== false && rule.targets.some(({ kind }) => kind === 'dnat' || kind === 'rewrite');

function destinationsOf(leaving: Leaving, { destination: { family } }: Packet): Place[] {
  const places = leaving.map(({ destination, destinationPort }) => ({
    address: destination === undefined ? null : printAddress(family, destination),
    port: destinationPort ?? null,
  }));
  return [...new Map(places.map((place) => [JSON.stringify(place), place])).values()];
}

function sourcesOf(leaving: Leaving, { source }: Packet): string[] {
  const addresses = leaving.flatMap(({ translation }) => translation?.sources ?? [source.first]);
  return [...new Set(addresses)].map((address) => printAddress(source.family, address));
}
