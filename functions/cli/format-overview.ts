import { keyOf, type Overview, type OverviewEntry } from '../../shared/core/explain/overview/overview';
import type { Family } from '../../shared/core/explain/model';
import { formatRange } from '../../shared/core/explain/ranges';
import { groupBy, type NonEmpty } from '../../shared/core/util/collections';
import { escapeControls } from '../../shared/core/util/shell';
import { exitCodes } from './exit';
import { notShownLines } from './format-explanation';
import { colours, count, table, type CommandOutput } from './output';

/** The text shows this many ranges in a row. The document contains all of them. */
const maxShownRanges = 6;

export interface OverviewResult extends Overview {
  readonly title: string;
  readonly family: Family;
  /** Whether the user says that the rules shown are all rules. */
  readonly assumedComplete: boolean;
  readonly warnings: readonly string[];
}

/** The exit code of an overview: 3 if rules that are not shown could change it. */
export const exitCodeOfOverview = ({ notShown, assumedComplete }: OverviewResult): number =>
  notShown.length > 0 && !assumedComplete ? exitCodes.unknown : exitCodes.ok;

/** Formats an overview: one row for each way in which the node treats packets, with the destinations it applies to. */
export function formatOverview(overview: OverviewResult): CommandOutput {
  const { title, family, entries, notShown, assumedComplete, warnings } = overview;
  const isCertain = exitCodeOfOverview(overview) === exitCodes.ok;
  const destinations = entries.map(({ first, last, outcome, ...entry }) => ({
    destinations: formatRange(family, { first, last }),
    outcome: isCertain ? outcome : 'unknown',
    outcomeByTablesShown: outcome,
    ...entry,
  }));
  const head = ['DESTINATIONS', 'PEER', isCertain ? 'MASQUERADED' : 'BY THE TABLES SHOWN', 'SOURCE', 'RULE'];
  const rows = [...groupBy(absorbOwnAddresses(entries), keyOf).values()].map((group) => rowOf(group, family));
  const lines = [
    colours.bold(title),
    table(head, rows),
    ...notShownLines(overview),
    ...warnings.map((warning) => `Warning: ${escapeControls(warning)}`),
  ];
  return { document: { destinations, notShown, assumedComplete, warnings }, text: lines.join('\n') };
}

function rowOf(group: NonEmpty<OverviewEntry>, family: Family): string[] {
  const [{ outcome, sources, rules, peers, mayBeDropped }] = group;
  const ranges = group.slice(0, maxShownRanges).map((range) => formatRange(family, range));
  const more = group.length - ranges.length;
  return [
    [...ranges, ...(more > 0 ? [`and ${count(more, 'more range')}`] : [])].join('\n'),
    escapeControls(peers.join(', ')),
    formatOutcome(outcome) + (mayBeDropped ? ', if not dropped' : ''),
    sources.join(' or '),
    rules.map(escapeControls).join('\n'),
  ];
}

/**
 * Merges ranges that only addresses of the node itself separate. A reader does not expect the range of a rule to end
 * at these addresses, which have a row of their own.
 */
function absorbOwnAddresses(entries: readonly OverviewEntry[]): OverviewEntry[] {
  const merged: OverviewEntry[] = [];
  for (const entry of entries.filter((each) => !isOwn(each))) {
    const previous = merged.at(-1);
    if (previous && keyOf(previous) === keyOf(entry))
      merged[merged.length - 1] = { ...previous, last: entry.last };
    else merged.push(entry);
  }
  return [...merged, ...entries.filter(isOwn)];
}

const isOwn = ({ outcome, first, last }: OverviewEntry) => outcome === 'stays-on-node' && first === last;

function formatOutcome(outcome: OverviewEntry['outcome']): string {
  switch (outcome) {
    case 'masqueraded':
      return colours.green('yes');
    case 'not-masqueraded':
      return colours.red('no');
    case 'dropped':
      return colours.red('dropped');
    case 'stays-on-node':
      return colours.dim('stays on the node');
    case 'unknown':
      return colours.yellow('unknown');
  }
}
