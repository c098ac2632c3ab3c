import { existsSync } from 'node:fs';
import { listFiles, readText, type Violation } from './files';
import { readPassages } from './text';

const guide = 'docs/style.md';

/** Files that are not checked: the rules themselves, and texts by other authors, such as recorded events and dumps. */
const exempt = [
  /^docs\/style\.md$/u,
  /^LICENSE$/u,
  /^test\/(?:.*\/)?(?:events|dumps)\//u,
  /^(?:infra|test\/infra)\/lint\//u,
  /^test\/docs\/style\.test\.ts$/u,
];

/**
 * Combines the expressions in the guide's fenced block. The block has one expression per line, and a space in it
 * matches any white space.
 */
export function readExpression(markdown: string): RegExp {
  const [, block = ''] = /^```regex\n(.*?)^```$/msu.exec(markdown) ?? [];
  const lines = block.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new RegExp(`(?<![\\w-])(?:${lines.join('|').replaceAll(' ', '\\s+')})(?![\\w-])`, 'giu');
}

export function findInText(file: string, source: string, expression: RegExp): Violation[] {
  // Most files contain no match, and parsing takes much longer than searching.
  if (!loosen(expression).test(source)) return [];
  return readPassages(file, source).flatMap(({ text, line }) =>
    [...text.matchAll(expression)].map(({ 0: found, index }) => ({
      file,
      line: line + text.slice(0, index).split('\n').length - 1,
      message: `"${found.replaceAll(/\s+/gu, ' ')}" (${guide})`,
    })),
  );
}

/** Finds every text that contains an expression from the guide, below the given paths or in the whole repository. */
export function findProse(paths: readonly string[] = []): Violation[] {
  const expression = readExpression(readText(guide));
  return listFiles(paths)
    .filter((file) => existsSync(file) && !exempt.some((pattern) => pattern.test(file)))
    .flatMap((file) => findInText(file, readText(file), expression));
}

/**
 * Returns a looser expression, for a quick search of a whole file. Where the original expects white space, it also
 * matches comment markers and quotations. Changing a lookaround could exclude matches, so lookarounds are kept.
 */
function loosen(expression: RegExp): RegExp {
  const between = '(?:\\W|`[^`\\n]*`|^>.*$)+';
  const lookaroundOrSpace = /\(\?<?![^)]*\)|\\s\+/gu;
  const loose = expression.source.replaceAll(lookaroundOrSpace, (part) => (part === '\\s+' ? between : part));
  return new RegExp(loose, 'imu');
}
