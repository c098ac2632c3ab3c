import { useState } from 'preact/hooks';
import { isAsWanted, type Explanation } from '../../shared/core/explain/explanation';
import type { ExplanationAnswer } from './evaluate';
import { NotShown } from './not-shown';
import { PacketPath } from './path';

/** Shows the verdict, the reason and the fix, and after them the packet's path. */
export function Answer({ title, explanation, warnings }: ExplanationAnswer) {
  const { reason, evidence, fix, lastingFix, mayBeDropped } = explanation;
  return (
    <>
      <p class={`verdict ${toneOf(explanation)}`}>{headlineOf(explanation)}</p>
      <p>{reason}</p>
      {mayBeDropped && <p>A rule that is not shown or cannot be decided may drop the packet.</p>}
      <NotShown {...explanation} warnings={warnings} />
      {evidence.map((line) => (
        <p key={line}>Evidence: {line}</p>
      ))}
      {fix !== null && <Fix command={fix} />}
      {lastingFix && (
        <p>
          <strong>Lasting fix ({lastingFix.owner}):</strong> {lastingFix.advice}
        </p>
      )}
      <PacketPath explanation={explanation} from={title.split(' → ')[0] ?? ''} />
    </>
  );
}

function headlineOf(explanation: Explanation): string {
  const { masqueraded, masqueradedByTablesShown: shown, cause, assumedComplete } = explanation;
  if (cause === 'dropped') return 'Dropped on the node';
  if (cause === 'stays-on-node') return 'Stays on the node';
  if (masqueraded !== 'unknown') {
    const headline = masqueraded ? 'Masqueraded' : 'Not masqueraded';
    return assumedComplete ? `${headline}, if the tables shown are all` : headline;
  }
  return shown === 'unknown' ? 'Unknown' : `Unknown; ${shown ? '' : 'not '}masqueraded by the tables shown`;
}

function toneOf(explanation: Explanation): 'good' | 'bad' | 'open' {
  if (explanation.masqueraded === 'unknown') return 'open';
  return isAsWanted(explanation) ? 'good' : 'bad';
}

function Fix({ command }: { command: string }) {
  const [message, setMessage] = useState('');
  const copy = async () => {
    await navigator.clipboard.writeText(command);
    setMessage('Copied');
  };
  return (
    <section class="fix" aria-labelledby="fix-title">
      <h3 id="fix-title">Fix</h3>
      <pre tabIndex={0}>
        <code>{command}</code>
      </pre>
      <button
        type="button"
        onClick={() => {
          copy().catch(() => {
            setMessage('The browser does not allow copying. Select the text instead.');
          });
        }}
      >
        Copy the fix
      </button>{' '}
      <span role="status">{message}</span>
    </section>
  );
}
