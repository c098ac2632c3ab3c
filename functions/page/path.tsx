import type { Explanation, Step } from '../../shared/core/explain/explanation';

interface Station {
  readonly title: string;
  readonly steps: readonly Step[];
}

const titleOf = ({ table, chain, backend }: Step) => `${chain} · table ${table} (${backend})`;

/** Groups consecutive steps in one chain, because a packet returns to a chain after it has left a chain it called. */
function stationsOf(path: readonly Step[]): Station[] {
  const stations: { title: string; steps: Step[] }[] = [];
  for (const step of path) {
    const current = stations.at(-1);
    if (current?.title === titleOf(step)) current.steps.push(step);
    else stations.push({ title: titleOf(step), steps: [step] });
  }
  return stations;
}

/** Draws the packet's path: where it comes from, the chains with the rules that mattered, and how it leaves. */
export function PacketPath({ explanation, from }: { explanation: Explanation; from: string }) {
  const { path, omitted } = explanation;
  return (
    <section aria-labelledby="path-title">
      <h3 id="path-title">Path of the packet</h3>
      <ol class="path">
        <li class="end">Packet from {from}</li>
        {stationsOf(path).map(({ title, steps }, index) => (
          <li key={index} class="station">
            <h4>{title}</h4>
            <ul>
              {steps.map((step, position) => (
                <RuleStep key={position} step={step} />
              ))}
            </ul>
          </li>
        ))}
        <li class={`end ${endOf(explanation)}`}>{describeEnd(explanation)}</li>
      </ol>
      {omitted > 0 && <p>Not shown: {omitted} more rules that were evaluated.</p>}
    </section>
  );
}

const marks = { matched: '✓', 'not-matched': '–', unknown: '?' } as const satisfies Record<
  Step['result'],
  string
>;

function RuleStep({ step: { rule, result, reason, text } }: { step: Step }) {
  return (
    <li class={`rule ${result}`}>
      <span class="mark" aria-hidden="true">
        {marks[result]}
      </span>
      <div>
        <strong>
          {rule === 0 ? 'Policy' : `Rule ${rule}`}: {result.replace('-', ' ')}
        </strong>
        <code>{text}</code>
        <small>{reason}</small>
      </div>
    </li>
  );
}

function endOf({ masqueraded, cause }: Explanation): 'good' | 'bad' | 'open' {
  if (masqueraded === 'unknown') return 'open';
  return masqueraded || cause === 'stays-on-node' ? 'good' : 'bad';
}

function describeEnd({ cause, source, sources }: Explanation): string {
  if (cause === 'dropped') return 'Dropped on the node';
  if (cause === 'stays-on-node') return 'Stays on the node';
  return `Leaves the node. Source address: ${source ?? (sources.join(' or ') || 'unknown')}`;
}
