import { expect, test } from '@jest/globals';
import { parseComment, printComment } from '../../../shared/aws/deliver/command-comment';

const comment = { ruleSetId: 'a1'.repeat(32), generation: 1_795_295_818_468, routes: 10_000 };

test('what a command tells those who did not send it fits its comment, and is read again', () => {
  const text = printComment(comment);
  expect(text).toBe('peermasq a1a1a1a1a1a1 generation 1795295818468 routes 10000');
  expect(text.length).toBeLessThanOrEqual(100);
  expect(parseComment(text)).toEqual({
    ruleSetId: 'a1a1a1a1a1a1',
    generation: 1_795_295_818_468,
    routes: 10_000,
  });
});

test.each([
  '',
  'restart the agent',
  'peermasq a1a1a1a1a1a1 generation 1',
  'peermasq x generation 1 routes 1',
])('%j is somebody else’s', (text) => {
  expect(parseComment(text)).toBeUndefined();
});
