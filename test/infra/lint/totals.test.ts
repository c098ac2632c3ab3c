import { expect, test } from '@jest/globals';
import { findRaised, printTotals, sumSuppressions } from '../../../infra/lint/totals';

test('suppressions are totalled by rule', () => {
  const json = JSON.stringify({
    'a.ts': { one: { count: 1 }, two: { count: 2 } },
    'b.ts': { one: { count: 3 } },
  });
  expect(sumSuppressions(json)).toEqual({ one: 4, two: 2 });
});

test('a total may decrease, but may not increase, and no total may be added', () => {
  expect(findRaised({ one: 2, two: 2 }, { one: 2, two: 1 })).toEqual([]);
  expect(findRaised({ one: 2 }, { one: 3, new: 1 })).toEqual([
    { rule: 'one', allowed: 2, found: 3 },
    { rule: 'new', allowed: 0, found: 1 },
  ]);
});

test('totals are printed in alphabetical order, without zero totals', () => {
  expect(printTotals({ two: 2, none: 0, one: 1 })).toBe('{\n  "one": 1,\n  "two": 2\n}\n');
});
