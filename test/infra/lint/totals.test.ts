import { expect, test } from '@jest/globals';
import { findRaised, printTotals, sumSuppressions } from '../../../infra/lint/totals';

test('totals are the sums of suppressions by rule', () => {
  const json = JSON.stringify({
    'a.ts': { one: { count: 1 }, two: { count: 2 } },
    'b.ts': { one: { count: 3 } },
  });
  expect(sumSuppressions(json)).toEqual({ one: 4, two: 2 });
});

test('a total may fall, but may not rise or appear', () => {
  expect(findRaised({ one: 2, two: 2 }, { one: 2, two: 1 })).toEqual([]);
  expect(findRaised({ one: 2 }, { one: 3, new: 1 })).toEqual([
    { rule: 'one', allowed: 2, found: 3 },
    { rule: 'new', allowed: 0, found: 1 },
  ]);
});

test('totals are printed sorted, without those that are zero', () => {
  expect(printTotals({ two: 2, none: 0, one: 1 })).toBe('{\n  "one": 1,\n  "two": 2\n}\n');
});
