import { expect, test } from '@jest/globals';
import { fuzz } from './fuzz';
import { checkLargeInputs } from './large';

test('every damaged input gives an answer or one error that says what was read', () => {
  // `npm run test:explain` does this with 100,000 inputs.
  const { answers, errors, failures } = fuzz({ cases: 1000, seed: 1, limit: 1500 });
  expect(failures).toEqual([]);
  expect(answers).toBeGreaterThan(0);
  expect(errors).toBeGreaterThan(0);
});

test('100 KB of one form gives an answer or an error within 5 s', () => {
  expect(checkLargeInputs(0.1).tooSlow).toEqual([]);
});
