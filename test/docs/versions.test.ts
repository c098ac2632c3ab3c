import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { differences, parseTable, renderTable, type Row, updateTable } from '../node/userlands/table';
import { userlands } from '../node/userlands/userlands';

const page = readFileSync('docs/versions.md', 'utf8');

test('docs/versions.md shows only userlands that exist, and no failures', () => {
  const names = userlands.map(({ name }) => name);
  const rows = parseTable(page);
  expect(rows.filter(({ userland, failed }) => !names.includes(userland) || failed > 0)).toEqual([]);
});

describe('the table of userlands', () => {
  const row: Row = {
    userland: 'Debian 11',
    versions: ['5.1', '1.8.7', '0.9.8', '7.10', '5.9', '1.4.6', '-'],
    passed: 3,
    failed: 0,
    notApplicable: 1,
    lastRun: '2026-01-02',
  };
  const other = { ...row, userland: 'Debian 12' };

  test('keeps the rows of userlands that did not run, in the given order', () => {
    const names = ['Debian 11', 'Debian 12'];
    const both = updateTable(updateTable(page, [other], names), [row], names);
    expect(parseTable(both)).toEqual([row, other]);
    expect(parseTable(updateTable(both, [{ ...row, passed: 4 }], names))).toEqual([
      { ...row, passed: 4 },
      other,
    ]);
  });

  test('differs if versions or failures differ, but not if there are more tests', () => {
    const shown = updateTable(page, [row], [row.userland]);
    expect(differences(shown, [{ ...row, passed: 9, lastRun: '2026-02-03' }])).toEqual([]);
    expect(differences(shown, [{ ...row, failed: 1 }])).toEqual([
      expect.stringMatching(/^Debian 11: .* failed 1, but the page shows .* failed 0$/),
    ]);
    expect(differences(shown, [other])).toEqual([expect.stringMatching(/no row$/)]);
  });

  test('has a column for each version', () => {
    expect(renderTable([row]).split('\n')[2]).toBe(
      '| Debian 11 | 5.1 | 1.8.7 | 0.9.8 | 7.10 | 5.9 | 1.4.6 | - | 3 | 0 | 1 | 2026-01-02 |',
    );
  });
});
