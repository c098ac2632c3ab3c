import { expect, test } from '@jest/globals';
import { serializeOutput } from './ordered-output';

test('the first section is shown live, and every later section is shown once all sections before it are closed', () => {
  const shown: string[] = [];
  const openSection = serializeOutput((text) => shown.push(text));
  const [first, second, third] = [openSection(), openSection(), openSection()];
  third.write('3a ');
  second.write('2a ');
  first.write('1a ');
  third.end();
  expect(shown.join('')).toBe('1a ');
  first.end();
  expect(shown.join('')).toBe('1a 2a ');
  second.write('2b ');
  expect(shown.join('')).toBe('1a 2a 2b ');
  second.end();
  expect(shown.join('')).toBe('1a 2a 2b 3a ');
});
