import { render } from 'preact';
import { App } from './app';
import { emptyForm } from './form';
import { formOf } from './link';

async function start(): Promise<void> {
  const initial = location.hash === '' ? undefined : await formOf(location.hash);
  render(<App initial={initial ?? emptyForm} />, document.body);
}

void start();
