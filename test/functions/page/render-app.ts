import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import type { Form } from '../../../functions/page/form';

/** Renders the page to HTML. */
export type RenderApp = (initial: Form) => string;

/** Bundles the page for Node.js first, because preact is published only as ES modules, which jest cannot load. */
export function loadRenderApp(): RenderApp {
  const folder = mkdtempSync(join(tmpdir(), 'peermasq-page-'));
  try {
    const outfile = join(folder, 'page.js');
    buildSync({
      stdin: { contents: entry, resolveDir: process.cwd(), loader: 'tsx' },
      tsconfig: 'functions/page/tsconfig.json',
      bundle: true,
      platform: 'node',
      format: 'cjs',
      outfile,
    });
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- The file exists only at run time.
    return (require(outfile) as { renderApp: RenderApp }).renderApp;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const entry = `
import { renderToString } from 'preact-render-to-string';
import { App } from './functions/page/app';
export const renderApp = (initial) => renderToString(<App initial={initial} />);
`;
