import { expect, test } from '@jest/globals';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const pages = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync('docs', { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];

/** Returns GitHub's anchor for a heading: in lower case, with dashes instead of spaces and no other punctuation. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{Letter}\p{Number} _-]/gu, '')
    .replaceAll(' ', '-');

const anchorsIn = (page: string): Set<string> =>
  new Set(
    Array.from(readFileSync(page, 'utf8').matchAll(/^#+ (.*)$/gmu), ([, heading = '']) => anchorOf(heading)),
  );

/** Removes inline code and code blocks, in which text that looks like a link is not a link. */
const withoutCode = (markdown: string): string =>
  markdown.replaceAll(/^```.*?^```$/gmsu, '').replaceAll(/`[^`\n]*`/gu, '');

test.each(pages)('every relative link in %s points to an existing file and heading', (page) => {
  const links = Array.from(
    withoutCode(readFileSync(page, 'utf8')).matchAll(/\]\((?!https?:|mailto:)([^)#]*)(?:#([^)]+))?\)/gu),
    ([, path = '', anchor]) => ({ file: path === '' ? page : join(dirname(page), path), anchor }),
  );
  const broken = links.filter(
    ({ file, anchor }) => !existsSync(file) || (anchor !== undefined && !anchorsIn(file).has(anchor)),
  );
  expect(broken).toEqual([]);
});
