import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { findInText, findProse, readExpression } from '../../infra/lint/prose';
import { parseTotals } from '../../infra/lint/totals';

const expression = readExpression(readFileSync('docs/style.md', 'utf8'));
const find = (file: string, source: string) =>
  findInText(file, source, expression).map(({ line, message }) => `${String(line)} ${message}`);

test('pages, comments and messages contain no phrase that docs/style.md forbids', () => {
  const allowed = parseTotals(readFileSync('infra/lint/ratchet.json', 'utf8'))['prose'] ?? 0;
  const findings = findProse().map(({ file, line, message }) => `${file}:${String(line)} ${message}`);
  expect(findings.length > allowed ? findings : []).toEqual([]);
});

describe('the style check finds forbidden phrases', () => {
  test('in TypeScript comments and strings, but not in identifiers', () => {
    const source = [
      "import { mend } from './mend';",
      '/** Whoever reads this. */',
      'const nobody = mend(`a ${nobody} heals`); // it comes',
      '// again',
      "throw new Error('Mend it');",
    ].join('\n');
    expect(find('a.ts', source)).toEqual([
      '2 "Whoever" (docs/style.md)',
      '3 "heals" (docs/style.md)',
      '3 "comes again" (docs/style.md)',
      '5 "Mend" (docs/style.md)',
    ]);
  });

  test('in bash comments, strings and here-documents, but not in identifiers', () => {
    const source = [
      '#!/usr/bin/env bash',
      'mend() { # mends it',
      '  local nobody=${#mend}',
      '  echo "$nobody heals ${mend}"',
      '}',
      'cat <<END',
      'What became of it',
      'END',
    ].join('\n');
    expect(find('.ci/run', source)).toEqual([
      '2 "mends" (docs/style.md)',
      '4 "heals" (docs/style.md)',
      '7 "What became of" (docs/style.md)',
    ]);
  });

  test('in YAML, Terraform and Markdown, but not in quotations', () => {
    expect(find('a.yml', '# it is to\n# have one\nkey: nobody')).toEqual([
      '1 "is to have" (docs/style.md)',
      '3 "nobody" (docs/style.md)',
    ]);
    expect(find('a.tf', 'description = "all the same"')).toEqual(['1 "all the same" (docs/style.md)']);
    expect(find('a.md', '> nobody\n\n`mend` is\na name, such\na thing')).toEqual([
      '4 "such a" (docs/style.md)',
    ]);
  });

  test('only as whole words', () => {
    expect(find('a.md', 'A security recommendation, thermal healthcheck, default')).toEqual([]);
  });
});
