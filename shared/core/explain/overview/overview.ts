import { isBlocking } from '../diagnose/not-masqueraded';
import { describeMissing } from '../diagnose/not-shown';
import { formatRuleName } from '../diagnose/trace';
import type { Range } from '../model';
import { contains, formatAddress } from '../ranges';
import type { Packet } from '../simulate/packet';
import type { Evaluation, Trace } from '../simulate/trace';
import { egressOf, walk } from '../simulate/walk';
import { missingFor, type Snapshot } from '../snapshot';
import { destinationRanges } from './boundaries';
import { RuleIndex } from './rule-index';

/** `unknown` if the rules do not determine it, or if it depends on the ports. */
export type Outcome = 'masqueraded' | 'not-masqueraded' | 'dropped' | 'stays-on-node' | 'unknown';

/** Destinations that are treated alike by the rules shown. */
export interface OverviewEntry extends Range {
  readonly outcome: Outcome;
  /** The source addresses with which packets may leave the node. Empty if they do not leave, or if it is unknown. */
  readonly sources: readonly string[];
  /** Whether an undecided rule may drop the packet. */
  readonly mayBeDropped: boolean;
  /** The rules that decide the outcome, such as `POSTROUTING rule 3 (iptables-nft, table nat)`. */
  readonly rules: readonly string[];
  /** The names of the configured destinations that contain these addresses. */
  readonly peers: readonly string[];
}

/** The packets of an overview: any destination, any ports. */
export type OverviewPacket = Pick<Packet, 'source' | 'protocol' | 'isFromNode' | 'in' | 'out'>;

export interface Overview {
  readonly entries: readonly OverviewEntry[];
  /** What the dump does not show. Rules there could change every outcome. */
  readonly notShown: readonly string[];
}

/** A configured destination, which the overview shows as an entry of its own. */
export interface Peer extends Range {
  readonly name: string;
}

/**
 * Follows a packet to every destination, and returns the ranges of destinations that are treated alike, in ascending
 * order. Together they contain every address of the family. The result is exact: the address space is divided at each
 * destination that a rule, a set, a route or an address of the node distinguishes.
 */
export function overviewOf(
  snapshot: Snapshot,
  packet: OverviewPacket,
  peers: readonly Peer[] = [],
): Overview {
  const { family } = packet.source;
  const index = new RuleIndex(packet);
  const entries = destinationRanges(snapshot, family, peers).map(({ first, last }): OverviewEntry => {
    const destination = { family, value: first, text: formatAddress(family, first) };
    const trace = walk(snapshot, { ...packet, destination }, (chain, state) => index.rulesFor(chain, state));
    const names = peers.filter((peer) => contains([peer], first)).map(({ name }) => name);
    return { first, last, ...summarize(trace, packet), peers: names };
  });
  return { entries: coalesce(entries), notShown: describeMissing(missingFor(snapshot, family)) };
}

type Treatment = Pick<OverviewEntry, 'outcome' | 'sources' | 'mayBeDropped' | 'rules'>;

function summarize(trace: Trace, { source }: OverviewPacket): Treatment {
  const egress = egressOf(trace);
  if (egress.length === 0) return summarizeWithoutEgress(trace);
  const translations = egress.flatMap(({ translation }) => translation ?? []);
  const outcome = outcomeOf(translations.length, egress.length);
  const sources = egress.flatMap(({ translation }) => translation?.sources ?? [source.value]);
  return {
    outcome,
    sources: [...new Set(sources)].map((address) => formatAddress(source.family, address)),
    mayBeDropped: trace.verdicts.some(({ kind }) => kind === 'dropped'),
    rules: namesOf(outcome === 'unknown' ? undecidedRules(trace) : decidingRules(trace)),
  };
}

function summarizeWithoutEgress(trace: Trace): Treatment {
  const drops = trace.verdicts.flatMap((verdict) => (verdict.kind === 'dropped' ? [verdict.by] : []));
  const base = { sources: [], mayBeDropped: false, rules: [...new Set(drops)] };
  if (drops.length === 0) return { ...base, outcome: 'stays-on-node' };
  if (drops.length === trace.verdicts.length) return { ...base, outcome: 'dropped' };
  return { ...base, outcome: 'unknown', mayBeDropped: true, rules: namesOf(undecidedRules(trace)) };
}

const undecidedRules = ({ evaluations }: Trace) => evaluations.filter(({ matched }) => matched === 'unknown');

function outcomeOf(translated: number, all: number): Outcome {
  if (translated === 0) return 'not-masqueraded';
  return translated === all ? 'masqueraded' : 'unknown';
}

/** Returns the rules that translate the packet, or the last rule that exempts it from translation. */
function decidingRules(trace: Trace): Evaluation[] {
  const translating = new Set(egressOf(trace).map(({ translation }) => translation?.by));
  const masquerading = trace.evaluations.filter(({ rule }) => translating.has(rule));
  if (masquerading.length > 0) return masquerading;
  return trace.evaluations.filter(isBlocking).slice(-1);
}

const namesOf = (evaluations: readonly Evaluation[]) => [...new Set(evaluations.map(formatRuleName))];

function coalesce(entries: readonly OverviewEntry[]): OverviewEntry[] {
  const merged: OverviewEntry[] = [];
  for (const entry of entries) {
    const previous = merged.at(-1);
    if (previous && keyOf(previous) === keyOf(entry))
      merged[merged.length - 1] = { ...previous, last: entry.last };
    else merged.push(entry);
  }
  return merged;
}

/** Identifies what happens to packets, so that entries with the same key can be shown together. */
export const keyOf = ({ outcome, sources, mayBeDropped, rules, peers }: OverviewEntry) =>
  [outcome, mayBeDropped, sources.join(' '), rules.join('\n'), ...peers].join('\n');
