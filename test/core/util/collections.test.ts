import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { chunks, definedOnly, groupBy } from '../../../shared/core/util/collections';

test('groupBy orders groups by their first item, and keeps the order inside each group', () => {
  const groups = groupBy(['b1', 'a1', 'b2', 'c1', 'a2'], (one) => one[0]);
  expect([...groups]).toEqual([
    ['b', ['b1', 'b2']],
    ['a', ['a1', 'a2']],
    ['c', ['c1']],
  ]);
});

test('groupBy returns no groups for an empty list', () => {
  expect(groupBy([], String)).toEqual(new Map());
});

test('groupBy keeps every item, in the group for its key', () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), fc.integer({ min: 1, max: 9 }), (all, size) => {
      const groups = groupBy(all, (one) => one % size);
      expect([...groups.values()].flat().toSorted()).toEqual(all.toSorted());
      for (const [key, some] of groups) expect(some.every((one) => one % size === key)).toBe(true);
    }),
  );
});

test('definedOnly leaves undefined fields out', () => {
  const out: string | undefined = undefined;
  expect(Object.keys(definedOnly({ id: 'a', out, zero: 0, no: false }))).toEqual(['id', 'zero', 'no']);
});

test('chunks splits a list into parts of at most the given size, in order', () => {
  expect(chunks([1, 2, 3, 4, 5], 2)).toEqual([[1, 2], [3, 4], [5]]);
  expect(chunks([], 2)).toEqual([]);
});
