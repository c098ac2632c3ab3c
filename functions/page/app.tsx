import { useEffect, useRef, useState } from 'preact/hooks';
import { Answer } from './answer';
import { evaluate, type Result } from './evaluate';
import type { Form } from './form';
import { fragmentOf } from './link';
import { Overview } from './overview';

/** The whole page. With `initial` from a link, the result is shown at once. */
export function App({ initial }: { initial: Form }) {
  const [form, setForm] = useState(initial);
  const [result, setResult] = useState(() => (initial.rules === '' ? undefined : evaluate(initial)));
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (result) heading.current?.focus();
  }, [result]);
  const change = (changes: Partial<Form>) => {
    setForm({ ...form, ...changes });
  };
  return (
    <main>
      <h1>peermasq explain</h1>
      <p>
        Paste what a node printed, and see whether it masquerades a pod's packets, by which rule, and what to
        change if it does not. Everything happens in this page: nothing is sent anywhere.
      </p>
      <InputForm
        form={form}
        change={change}
        submit={() => {
          setResult(evaluate(form));
        }}
      />
      {result && (
        <section class="result" aria-labelledby="result-title">
          <h2 id="result-title" ref={heading} tabIndex={-1}>
            {result.kind === 'error' ? 'The input cannot be read' : result.title}
          </h2>
          <ResultView result={result} />
          {result.kind !== 'error' && <LinkButton form={form} />}
        </section>
      )}
    </main>
  );
}

interface InputFormProps {
  readonly form: Form;
  readonly change: (changes: Partial<Form>) => void;
  readonly submit: () => void;
}

function InputForm({ form, change, submit }: InputFormProps) {
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <label for="rules">Output of the node's programs</label>
      <textarea
        id="rules"
        rows={12}
        spellcheck={false}
        autocomplete="off"
        aria-describedby="rules-help"
        value={form.rules}
        onInput={({ currentTarget }) => {
          change({ rules: currentTarget.value });
        }}
      />
      <p id="rules-help">
        Best: the output of the script that <code>peermasq collect</code> prints. Also:{' '}
        <code>iptables-save</code>, <code>iptables -t nat -S</code> or <code>-L -n -v</code>,{' '}
        <code>nft list ruleset</code>, <code>ip addr</code>, <code>ip route</code>, <code>ip rule</code>,{' '}
        <code>ipset save</code>.
      </p>
      <div class="fields">
        <TextField
          id="from"
          label="From (pod address)"
          value={form.from}
          set={(from) => {
            change({ from });
          }}
        />
        <TextField
          id="to"
          label="To (address:port, or empty for all destinations)"
          value={form.to}
          set={(to) => {
            change({ to });
          }}
        />
        <Choice
          id="protocol"
          label="Protocol"
          value={form.protocol}
          options={{ tcp: 'TCP', udp: 'UDP' }}
          set={(protocol) => {
            change({ protocol });
          }}
        />
        <Choice
          id="want"
          label="It should leave with"
          value={form.want}
          options={{ masqueraded: "the node's address", direct: "the pod's address" }}
          set={(want) => {
            change({ want });
          }}
        />
      </div>
      <label class="check">
        <input
          type="checkbox"
          checked={form.assumeComplete}
          onChange={({ currentTarget }) => {
            change({ assumeComplete: currentTarget.checked });
          }}
        />{' '}
        These are all rules of the node
      </label>
      <button type="submit">Explain</button>
    </form>
  );
}

interface ChoiceProps<Value extends string> {
  readonly id: string;
  readonly label: string;
  readonly value: Value;
  readonly options: Readonly<Record<Value, string>>;
  readonly set: (value: Value) => void;
}

function Choice<Value extends string>({ id, label, value, options, set }: ChoiceProps<Value>) {
  const names = Object.keys(options) as Value[];
  return (
    <div>
      <label for={id}>{label}</label>
      <select
        id={id}
        value={value}
        onChange={({ currentTarget }) => {
          set(names.find((name) => name === currentTarget.value) ?? value);
        }}
      >
        {names.map((name) => (
          <option key={name} value={name}>
            {options[name]}
          </option>
        ))}
      </select>
    </div>
  );
}

interface TextFieldProps {
  readonly id: string;
  readonly label: string;
  readonly value: string;
  readonly set: (value: string) => void;
}

function TextField({ id, label, value, set }: TextFieldProps) {
  return (
    <div>
      <label for={id}>{label}</label>
      <input
        id={id}
        type="text"
        autocomplete="off"
        spellcheck={false}
        value={value}
        onInput={({ currentTarget }) => {
          set(currentTarget.value);
        }}
      />
    </div>
  );
}

function ResultView({ result }: { result: Result }) {
  switch (result.kind) {
    case 'explanation':
      return <Answer {...result} />;
    case 'overview':
      return <Overview {...result} />;
    case 'error':
      return (
        <div role="alert">
          <p>{result.message}</p>
          <p>{result.advice}</p>
        </div>
      );
  }
}

function LinkButton({ form }: { form: Form }) {
  const [message, setMessage] = useState('');
  const share = async () => {
    const fragment = await fragmentOf(form);
    if (fragment === undefined) {
      setMessage('The input is too long for a link.');
      return;
    }
    history.replaceState(null, '', `#${fragment}`);
    setMessage('The address of this page is now a link with the input.');
  };
  return (
    <p>
      <button
        type="button"
        onClick={() => {
          void share();
        }}
      >
        Make a link
      </button>{' '}
      <span role="status">{message}</span>
    </p>
  );
}
