import { keyOf, type OverviewEntry } from '../../shared/core/explain/overview/overview';
import type { Family } from '../../shared/core/explain/model';
import { formatRange } from '../../shared/core/explain/ranges';
import { groupBy } from '../../shared/core/util/collections';
import { escapeControls } from '../../shared/core/util/shell';
import { colours, count, table, type CommandOutput } from './output';

/** The text shows this many ranges in a row. The document contains all of them. */
const maxShownRanges = 6;

/** Formats an overview: one row for each way in which the node treats packets, with the destinations it applies to. */
export function formatOverview(
  title: string,
  family: Family,
  entries: readonly OverviewEntry[],
): CommandOutput {
  const document = entries.map(({ first, last, ...entry }) => ({
    destinations: formatRange(family, { first, last }),
    ...entry,
  }));
  const groups = [...groupBy(absorbOwnAddresses(entries), keyOf).values()];
  const rows = groups.map((group) => {
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
  });
  const text = table(['DESTINATIONS', 'PEER', 'MASQUERADED', 'SOURCE', 'RULE'], rows);
  return { document, text: `${colours.bold(title)}\n${text}` };
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
