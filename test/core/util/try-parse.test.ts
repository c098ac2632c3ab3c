import { expect, test } from '@jest/globals';
import { tryParse } from '../../../shared/core/util/try-parse';

test('tryParse returns undefined for what cannot be parsed', () => {
  expect(tryParse((): unknown => JSON.parse('{"a":1}'))).toEqual({ a: 1 });
  expect(tryParse((): unknown => JSON.parse('{'))).toBeUndefined();
});

test('tryParse throws errors that are not expected', () => {
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
