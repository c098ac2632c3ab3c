import type { OverviewEntry } from '../../shared/core/explain/overview/overview';
import { formatRange } from '../../shared/core/explain/ranges';
import type { OverviewAnswer } from './evaluate';
import { NotShown } from './not-shown';

type Ranges = Pick<OverviewAnswer, 'family' | 'entries'>;

const labels = {
  masqueraded: 'masqueraded',
  'not-masqueraded': 'not masqueraded',
  dropped: 'dropped',
  'stays-on-node': 'stays on the node',
  unknown: 'unknown',
} as const satisfies Record<OverviewEntry['outcome'], string>;

const outcomeTitle = ({ notShown, assumedComplete }: Pick<OverviewAnswer, 'notShown' | 'assumedComplete'>) =>
  notShown.length > 0 && !assumedComplete ? 'By the tables shown' : 'Outcome';

/** The picture stays readable, and the browser responsive, with this many ranges. */
const maxDrawn = 400;

/** Shows every destination: as a picture, one block for each range in ascending order, and as a table. */
export function Overview({ family, entries, ...evidence }: OverviewAnswer) {
  return (
    <section aria-labelledby="overview-title">
      <h3 id="overview-title">Destinations</h3>
      <NotShown {...evidence} />
      <Picture family={family} entries={entries.slice(0, maxDrawn)} />
      <div class="scroll" tabIndex={0} role="region" aria-label="Table of destinations">
        <table>
          <thead>
            <tr>
              {['Destinations', outcomeTitle(evidence), 'Source', 'Rule'].map((name) => (
                <th key={name} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {entries.map((entry) => (
              <tr key={entry.first.toString()}>
                <td>{formatRange(family, entry)}</td>
                <td class={entry.outcome}>
                  {labels[entry.outcome]}
                  {entry.mayBeDropped && ', if not dropped'}
                </td>
                <td>{entry.sources.join(' or ')}</td>
                <td>{entry.rules.join('; ')}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Picture({ family, entries }: Ranges) {
  const widths = entries.map(widthOf);
  const total = widths.reduce((sum, width) => sum + width, 0);
  let offset = 0;
  return (
    <figure>
      <svg viewBox={`0 0 ${total} 40`} preserveAspectRatio="none" role="img" aria-label={summaryOf(entries)}>
        {entries.map((entry, index) => {
          const x = offset;
          offset += widths[index] ?? 0;
          return (
            <rect key={x} class={entry.outcome} x={x} width={widths[index]} height="40">
              <title>{`${formatRange(family, entry)}: ${labels[entry.outcome]}`}</title>
            </rect>
          );
        })}
      </svg>
      <figcaption>
        From the lowest address to the highest. Larger ranges are wider, on a logarithmic scale.{' '}
        {Object.entries(labels).map(([outcome, label]) => (
          <span key={outcome} class={`key ${outcome}`}>
            {label}
          </span>
        ))}
      </figcaption>
    </figure>
  );
}

/** A range of one address must remain visible next to half of the address space. */
const widthOf = ({ first, last }: OverviewEntry) => 2 + (last - first + 1n).toString(2).length;

function summaryOf(entries: readonly OverviewEntry[]): string {
  const counts = Object.entries(labels).flatMap(([outcome, label]) => {
    const count = entries.filter((entry) => entry.outcome === outcome).length;
    return count === 0 ? [] : [`${count} ${label}`];
  });
  return `Ranges of destinations: ${counts.join(', ')}`;
}
