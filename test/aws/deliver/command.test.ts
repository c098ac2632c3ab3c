import { describe, expect, test } from '@jest/globals';
import { formatComment, parseComment } from '../../../shared/aws/deliver/command';

describe('the comment of an SSM command', () => {
  test('fits in 100 characters and can be parsed', () => {
    const text = formatComment({
      ruleSetId: 'a1'.repeat(32),
      generation: 1_795_295_818_468,
      routes: 10_000,
    });
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
  ])('from another tool is not parsed: %j', (text) => {
    expect(parseComment(text)).toBeUndefined();
  });
});
