import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseEvent } from '../../../shared/gcp/events/parse-event';

type Json = Record<string, unknown>;

const fixture = (name: string): Json =>
  JSON.parse(readFileSync(join(__dirname, '../../events/gcp', `${name}.json`), 'utf8')) as Json;

/** A copy of the event with the value at `path` (`data.protoPayload.methodName`) replaced. */
function changed(event: Json, path: string, value: unknown): Json {
  const copy = structuredClone(event);
  const keys = path.split('.');
  const last = keys.pop() ?? '';
  const parent = keys.reduce<Json>((at, key) => at[key] as Json, copy);
  parent[last] = value;
  return copy;
}

const first = fixture('instance-insert-first');
const node = {
  cloud: 'gcp',
  project: 'identity-nonprod',
  zone: 'europe-west1-c',
  id: '4520031799277581759',
};

describe('an event tells of a node that joined', () => {
  test.each([
    ['instance-insert-first', '2026-11-21T22:36:58.468Z'],
    ['instance-insert-last', '2026-11-21T22:37:06.910Z'],
  ])('%s', (name, at) => {
    expect(parseEvent(fixture(name))).toEqual({ kind: 'nodes-joined', nodes: [node], at: new Date(at) });
  });

  test.each(['v1.compute.instances.insert', 'beta.compute.instances.insert', 'compute.instances.insert'])(
    'by the method %s',
    (method) => {
      expect(parseEvent(changed(first, 'data.protoPayload.methodName', method))).toMatchObject({
        nodes: [node],
      });
    },
  );

  test.each([
    ['us-central1-ai1a', 'identity-nonprod'],
    ['europe-west1-c', 'example.com:my-project'],
    ['europe-west1-c', '415104041262'],
  ])('in zone %s of project %s', (zone, project) => {
    const labels = { project_id: project, zone, instance_id: node.id };
    const event = changed(
      changed(first, 'data.resource.labels', labels),
      'data.protoPayload.resourceName',
      'x',
    );
    expect(parseEvent(event)).toMatchObject({ nodes: [{ ...node, zone, project }] });
  });

  test('by the first part of a split entry', () => {
    const split = changed(fixture('instance-insert-split'), 'data.split', { uid: 'x', totalSplits: 2 });
    expect(parseEvent(split)).toMatchObject({ nodes: [node] });
  });

  test('by a bulk insert that names an instance', () => {
    const labels = { project_id: node.project, zone: node.zone, instance_id: node.id };
    const event = changed(fixture('instance-bulk-insert'), 'data.resource.labels', labels);
    expect(parseEvent(event)).toMatchObject({ nodes: [node] });
  });

  test('with the time of the event when the entry has none', () => {
    const event = changed(first, 'data.timestamp', 'yesterday');
    expect(parseEvent(event)).toMatchObject({ at: new Date('2026-11-21T22:36:58.468Z') });
  });
});

const exported = fixture('pubsub-instance-insert-first');

describe('an event from the topic of a log sink', () => {
  test('says the same', () => {
    expect(parseEvent(exported)).toEqual(parseEvent(first));
    expect(parseEvent(fixture('pubsub-network-add-peering-last'))).toEqual(
      parseEvent(fixture('network-add-peering-last')),
    );
  });

  test('is ignored where it tells of a project that is not ours to look at', () => {
    expect(parseEvent(exported, ['another', node.project])).toMatchObject({ kind: 'nodes-joined' });
    expect(parseEvent(exported, ['another'])).toEqual({
      kind: 'ignored',
      reason: 'project "identity-nonprod" is not one of PEERMASQ_PROJECTS',
    });
  });
});

describe('an event tells of routes that changed', () => {
  test.each([
    ['network-add-peering-last', 'networks.addPeering'],
    ['network-update-peering', 'networks.updatePeering'],
    ['network-remove-peering', 'networks.removePeering'],
    ['route-insert', 'routes.insert'],
    ['router-patch', 'routers.patch'],
  ])('%s', (name, change) => {
    expect(parseEvent(changed(fixture(name), 'data.operation', { last: true }))).toMatchObject({
      kind: 'routes-changed',
      project: node.project,
      change,
    });
  });
});

describe('an event is ignored', () => {
  test.each<[string, Json, RegExp]>([
    ['of an operation that failed', fixture('instance-insert-failed'), /failed: "QUOTA_EXCEEDED"/],
    ['that is a later part of a split entry', fixture('instance-insert-split'), /part 2 of a split entry/],
    ['of a bulk insert without an instance', fixture('instance-bulk-insert'), /the sweep finds them/],
    ['of another method', fixture('instance-delete'), /"v1.compute.instances.delete" makes no instance/],
    [
      'of a method that only looks like it',
      changed(first, 'data.protoPayload.methodName', 'v1.compute.instances.insertX'),
      /makes no instance/,
    ],
    [
      'of another type',
      changed(first, 'type', 'google.cloud.storage.object.v1.finalized'),
      /not an audit log event/,
    ],
    ['of a topic, without a message', changed(exported, 'data.message', {}), /not an audit log entry/],
    [
      'of a topic, whose message is no JSON',
      changed(exported, 'data.message.data', 'aGk='),
      /not an audit log entry/,
    ],
    [
      'of a topic, whose message is no base64',
      changed(exported, 'data.message.data', '{}'),
      /not an audit log entry/,
    ],
    ['of a peering that has only begun to change', fixture('network-add-peering-first'), /has only begun/],
    [
      'of another service',
      changed(first, 'data.protoPayload.serviceName', 'storage.googleapis.com'),
      /another service/,
    ],
    ['without data', changed(first, 'data', undefined), /not an audit log entry/],
    ['without a payload', changed(first, 'data.protoPayload', null), /protoPayload/],
    ['without labels', changed(first, 'data.resource', undefined), /project_id.*zone.*instance_id/],
    [
      'whose zone is not that of its resource',
      changed(first, 'data.resource.labels.zone', 'us-east1-b'),
      /its zone "us-east1-b"/,
    ],
    ['without a time', changed(changed(first, 'data.timestamp', 'x'), 'time', 'x'), /when it happened/],
    [
      'with hostile text',
      changed(first, 'data.protoPayload.methodName', '\u001b[2J\nv1'),
      /^"\\u001b\[2J\\nv1" makes no/,
    ],
  ])('%s', (_, event, reason) => {
    expect(parseEvent(event)).toEqual({
      kind: 'ignored',
      reason: expect.stringMatching(reason) as unknown,
    });
  });

  test.each([
    ['project_id', ['', '../other', '$(reboot)', 'A-Project', 'p-', 'a/b', ':p', 'p\n', 415104041262]],
    ['zone', ['', 'europe-west1-', 'europe-west1-c/../x', 'EUROPE-west1-c', '1a', 'z'.repeat(64), null]],
    ['instance_id', ['', '0', '012', 'i-0123', '123;reboot', '123456789012345678901', 4520031799277582000]],
  ])('whose %s is hostile', (label, values) => {
    for (const value of values) {
      const event = changed(
        changed(first, `data.resource.labels.${label}`, value),
        'data.protoPayload.resourceName',
        'x',
      );
      expect(parseEvent(event)).toMatchObject({ kind: 'ignored' });
    }
  });

  test('whatever it is, without a throw and in one short line', () => {
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
