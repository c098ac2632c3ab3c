import { describe, expect, test } from '@jest/globals';
import { fixture, node, parseOther, withDetail } from './fixtures';

const finished = fixture('command-invocation-success');

describe('the event for an SSM command on an instance', () => {
  test('is handled when the command has finished', () => {
    expect(parseOther(finished)).toEqual({
      kind: 'command-finished',
      node: node('i-1234567890abcdef0'),
      commandId: 'e8d3c0e4-71f7-4491-898f-c9b35bee5f3b',
      requestedAt: new Date('2016-07-10T21:51:30.049Z'),
    });
  });

  test('is ignored while the command is in progress', () => {
    expect(parseOther(fixture('command-invocation-in-progress'))).toEqual({
      kind: 'ignored',
      reason: expect.stringMatching(/^command \S+ is InProgress on /),
    });
  });

  test('is ignored for a managed node outside EC2', () => {
    expect(parseOther(withDetail(finished, { 'instance-id': 'mi-0123456789abcdef0' }))).toEqual({
      kind: 'ignored',
      reason: 'mi-0123456789abcdef0 is not an EC2 instance',
    });
  });
});
