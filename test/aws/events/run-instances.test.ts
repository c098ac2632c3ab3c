import { describe, expect, test } from '@jest/globals';
import { fixture, node, parse, withDetail } from './fixtures';

const event = fixture('run-instances');
const withIds = (...ids: unknown[]) =>
  withDetail(event, {
    responseElements: { instancesSet: { items: ids.map((instanceId) => ({ instanceId })) } },
  });

describe('the event for a RunInstances call', () => {
  test('announces each instance that the call started', () => {
    expect(parse(event)).toEqual({
      kind: 'nodes-joined',
      trigger: 'run-instances',
      nodes: [node('i-1234567890abcdef0'), node('i-0598c7d356eba48d7')],
      at: new Date('2023-07-19T21:17:28Z'),
    });
  });

  test('announces an instance only once when the event lists it twice', () => {
    const id = 'i-1234567890abcdef0';
    expect(parse(withIds(id, id))).toMatchObject({ nodes: [node(id)] });
  });

  test.each<[string, unknown, string]>([
    [
      'the call was refused',
      fixture('run-instances-refused'),
      'RunInstances failed: Client.InstanceLimitExceeded',
    ],
    [
      'the call was a dry run',
      fixture('run-instances-dry-run'),
      'RunInstances failed: Client.DryRunOperation',
    ],
    [
      'it contains no response',
      withDetail(event, { responseElements: null }),
      'RunInstances has no response: no instance was started',
    ],
  ])('is ignored when %s', (_, ignoredEvent, reason) => {
    expect(parse(ignoredEvent)).toEqual({ kind: 'ignored', reason });
  });

  test.each<[string, unknown, RegExp]>([
    ['a response without instances', withDetail(event, { responseElements: {} }), /instancesSet/],
    ['an empty list of instances', withIds(), /items/],
    ['an id that is a number', withIds(5), /instanceId/],
    ['an id of 9 digits', withIds('i-123456789'), /instanceId/],
  ])('with %s is malformed', (_, malformedEvent, reason) => {
    expect(parse(malformedEvent)).toEqual({ kind: 'malformed', reason: expect.stringMatching(reason) });
  });
});
