import { describe, expect, test } from '@jest/globals';
import { fixture, node, parse, scope, withDetail } from './fixtures';

const running = fixture('state-change-running');

describe('the event for an instance state change', () => {
  test('announces a node when the state is running', () => {
    expect(parse(running)).toEqual({
      kind: 'nodes-joined',
      trigger: 'instance-running',
      nodes: [node('i-1234567890abcdef0')],
      at: new Date('2021-11-11T21:29:54Z'),
    });
  });

  test('is ignored when the state is not running', () => {
    expect(parse(fixture('state-change-stopped'))).toEqual({
      kind: 'ignored',
      reason: 'i-1234567890abcdef0 is stopped, not running',
    });
  });

  test.each(['us-gov-west-1', 'us-isob-east-1', 'eusc-de-east-1', 'ap-southeast-7'])(
    'is handled in region %s',
    (region) => {
      expect(parse({ ...running, region }, { ...scope, region })).toMatchObject({ nodes: [{ region }] });
    },
  );

  test.each<[string, unknown]>([
    ['a list in the field detail', []],
    ['a null in the field detail', null],
    ['no field instance-id', { instanceId: 'i-1234567890abcdef0' }],
    ['an instance ID that contains a shell command', { 'instance-id': 'i-0;id', state: 'running' }],
  ])('with %s is malformed', (_, detail) => {
    expect(parse({ ...running, detail })).toMatchObject({
      kind: 'malformed',
      reason: expect.stringMatching(
        /^malformed aws\.ec2: EC2 Instance State-change Notification: (instance-id|event)/,
      ),
    });
  });

  test('with an instance ID of 16 digits is malformed', () => {
    expect(parse(withDetail(running, { 'instance-id': 'i-1234567890abcdef' }))).toMatchObject({
      kind: 'malformed',
      reason: expect.stringContaining('instance-id'),
    });
  });
});
