import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { build, transform } from 'esbuild';
import { pageBundle } from './bundle/options';

const folder = 'functions/page';

/**
 * Writes dist/page/index.html: one file without external resources. Its content security policy allows only its own
 * script and style, by their digests, and no connections, so nothing that a user pastes can leave the browser.
 */
export async function buildPage(): Promise<void> {
  const { outputFiles } = await build(pageBundle);
  // `</script` inside a string of the code would end the script element.
  const script = (outputFiles[0]?.text ?? '').trim().replaceAll('</script', '<\\/script');
  const source = readFileSync(`${folder}/style.css`, 'utf8');
  const style = (await transform(source, { loader: 'css', minify: true, target: 'chrome123' })).code.trim();
  const policy = `default-src 'none'; script-src ${digest(script)}; style-src ${digest(style)}; form-action 'none'; base-uri 'none'`;
  const elements: Readonly<Record<string, string>> = {
    policy: `<meta http-equiv="Content-Security-Policy" content="${policy}" />`,
    style: `<style>${style}</style>`,
    script: `<script>${script}</script>`,
  };
  const html = readFileSync(`${folder}/index.html`, 'utf8').replaceAll(
    /<!-- (policy|style|script) -->/g,
    (_, name: string) => elements[name] ?? '',
  );
  mkdirSync('dist/page', { recursive: true });
  writeFileSync('dist/page/index.html', html);
}

const digest = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
