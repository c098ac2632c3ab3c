import { expect, test } from '@jest/globals';
import { lazy, memoize, tryParse } from '../../../shared/core/util/functional';

test('memoize reads the value of each key once', () => {
  const keys: string[] = [];
  const read = memoize((key: string) => keys.push(key));
  expect([read('a'), read('b'), read('a')]).toEqual([1, 2, 1]);
  expect(keys).toEqual(['a', 'b']);
});

test('memoize reads a value again after a rejection', async () => {
  let calls = 0;
  const read = memoize((): Promise<number> => {
    calls += 1;
    return calls === 1 ? Promise.reject(new Error('not yet')) : Promise.resolve(calls);
  });
  await expect(read('a')).rejects.toThrow('not yet');
  await expect(read('a')).resolves.toBe(2);
});

test('memoize also caches the value undefined', () => {
  let calls = 0;
  const read = memoize<string, undefined>(() => {
    calls += 1;
    return undefined;
  });
  read('a');
  read('a');
  expect(calls).toBe(1);
});

test('memoize identifies objects by their ID', () => {
  const names: string[] = [];
  const read = memoize(
    ({ name }: { readonly name: string }) => names.push(name),
    ({ name }) => name,
  );
  expect([read({ name: 'a' }), read({ name: 'a' }), read({ name: 'b' })]).toEqual([1, 1, 2]);
});

test('lazy computes its value at the first call', () => {
  let made = 0;
  const get = lazy(() => (made += 1));
  expect(made).toBe(0);
  expect([get(), get()]).toEqual([1, 1]);
});

test('tryParse returns undefined for input that cannot be parsed', () => {
  expect(tryParse((): unknown => JSON.parse('{"a":1}'))).toEqual({ a: 1 });
  expect(tryParse((): unknown => JSON.parse('{'))).toBeUndefined();
});

test('tryParse throws unexpected errors', () => {
  const isSyntaxError = (error: unknown) => error instanceof SyntaxError;
  expect(
    tryParse((): unknown => {
      throw new SyntaxError('bad');
    }, isSyntaxError),
  ).toBeUndefined();
  expect(() =>
    tryParse((): unknown => {
      throw new TypeError('broken');
    }, isSyntaxError),
  ).toThrow('broken');
});
