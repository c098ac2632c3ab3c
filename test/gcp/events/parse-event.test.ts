import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseEvent } from '../../../shared/gcp/events/parse-event';
import { changed, fixture, ignoredBecause, node } from './fixtures';

const first = fixture('instance-insert-first');
const exported = fixture('pubsub-instance-insert-first');

describe('an audit log event', () => {
  test('gets the time of the CloudEvent when its log entry has no time', () => {
    const event = changed(first, 'data.timestamp', 'yesterday');
    expect(parseEvent(event)).toMatchObject({ at: new Date('2026-11-21T22:36:58.468Z') });
  });

  test('is handled when it is the first part of a split log entry', () => {
    const split = changed(fixture('instance-insert-split'), 'data.split', { uid: 'x', totalSplits: 2 });
    expect(parseEvent(split)).toMatchObject({ nodes: [node] });
  });

  test.each<[string, Record<string, unknown>, RegExp]>([
    ['reports a failed operation', fixture('instance-insert-failed'), /failed: "QUOTA_EXCEEDED"/],
    ['is a later part of a split log entry', fixture('instance-insert-split'), /part 2 of a split entry/],
    [
      'reports another method',
      fixture('instance-delete'),
      /"v1.compute.instances.delete" neither creates instances/,
    ],
    [
      'reports a method with a similar name',
      changed(first, 'data.protoPayload.methodName', 'v1.compute.instances.insertX'),
      /neither creates instances/,
    ],
    [
      'has another type',
      changed(first, 'type', 'google.cloud.storage.object.v1.finalized'),
      /not an audit log event/,
    ],
    [
      'reports another service',
      changed(first, 'data.protoPayload.serviceName', 'storage.googleapis.com'),
      /another service/,
    ],
    ['has no data', changed(first, 'data', undefined), /not an audit log entry/],
    ['has no payload', changed(first, 'data.protoPayload', null), /protoPayload/],
    ['has no timestamp', changed(changed(first, 'data.timestamp', 'x'), 'time', 'x'), /no timestamp/],
    [
      'contains terminal control characters, which are escaped',
      changed(first, 'data.protoPayload.methodName', '\u001b[2J\nv1'),
      /^"\\u001b\[2J\\nv1" neither creates/,
    ],
  ])('is ignored when it %s', (_, event, reason) => {
    expect(parseEvent(event)).toEqual(ignoredBecause(reason));
  });

  test('never makes the parser throw, and is ignored with a short, single-line reason', () => {
    const anyEvent = fc.oneof(
      fc.anything(),
      fc.anything().map((data) => ({ ...first, data })),
      fc.anything().map((value) => changed(first, 'data.protoPayload.status', value)),
      fc.string().map((text) => changed(first, 'data.protoPayload.methodName', text)),
    );
    fc.assert(
      fc.property(anyEvent, (event) => {
        const parsed = parseEvent(event);
        if (parsed.kind === 'ignored') expect(parsed.reason).toMatch(/^[^\n]{1,600}$/);
      }),
    );
  });
});

describe('a Pub/Sub message from a log sink', () => {
  test('is parsed as the audit log event that it contains', () => {
    expect(parseEvent(exported)).toEqual(parseEvent(first));
    expect(parseEvent(fixture('pubsub-network-add-peering-last'))).toEqual(
      parseEvent(fixture('network-add-peering-last')),
    );
  });

  test('is ignored when its project is not in PEERMASQ_PROJECTS', () => {
    expect(parseEvent(exported, ['another', node.project])).toMatchObject({ kind: 'nodes-joined' });
    expect(parseEvent(exported, ['another'])).toEqual({
      kind: 'ignored',
      reason: 'project "identity-nonprod" is not one of PEERMASQ_PROJECTS',
    });
  });

  test.each([
    ['carries no message', changed(exported, 'data.message', {})],
    ['carries no JSON', changed(exported, 'data.message.data', 'aGk=')],
    ['is not base64', changed(exported, 'data.message.data', '{}')],
  ])('is ignored when it %s', (_, event) => {
    expect(parseEvent(event)).toEqual(ignoredBecause(/not an audit log entry/));
  });
});
