import { describe, expect, test } from '@jest/globals';
import { parseEvent } from '../../../shared/gcp/events/parse-event';
import { changed, fixture, ignoredBecause, node } from './fixtures';

const first = fixture('instance-insert-first');
const withLabels = (name: string, labels: Record<string, unknown>) =>
  changed(fixture(name), 'data.resource.labels', labels);

describe('the event of an instance insert', () => {
  test.each([
    ['instance-insert-first', '2026-11-21T22:36:58.468Z'],
    ['instance-insert-last', '2026-11-21T22:37:06.910Z'],
  ])('announces a node: %s', (name, at) => {
    expect(parseEvent(fixture(name))).toEqual({
      kind: 'nodes-joined',
      trigger: 'instances.insert',
      nodes: [node],
      at: new Date(at),
    });
  });

  test.each(['v1.compute.instances.insert', 'beta.compute.instances.insert', 'compute.instances.insert'])(
    'is recognised by the method %s',
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
  ])('is accepted with zone %s and project %s', (zone, project) => {
    const labelled = withLabels('instance-insert-first', { project_id: project, zone, instance_id: node.id });
    const event = changed(labelled, 'data.protoPayload.resourceName', 'x');
    expect(parseEvent(event)).toMatchObject({ nodes: [{ ...node, zone, project }] });
  });

  test('is accepted when it is a bulk insert that names an instance', () => {
    const labels = { project_id: node.project, zone: node.zone, instance_id: node.id };
    expect(parseEvent(withLabels('instance-bulk-insert', labels))).toMatchObject({
      trigger: 'instances.bulkInsert',
      nodes: [node],
    });
  });

  test.each([
    ['is a bulk insert without an instance', fixture('instance-bulk-insert'), /the sweep finds them/],
    [
      'has no labels',
      changed(first, 'data.resource', undefined),
      /does not identify an instance: project_id.*zone.*instance_id/,
    ],
    [
      'has a zone that differs from its resource name',
      changed(first, 'data.resource.labels.zone', 'us-east1-b'),
      /its zone "us-east1-b" is not the zone of "projects/,
    ],
  ])('is ignored when it %s', (_, event, reason) => {
    expect(parseEvent(event)).toEqual(ignoredBecause(reason));
  });

  test.each([
    ['project_id', ['', '../other', '$(reboot)', 'A-Project', 'p-', 'a/b', ':p', 'p\n', 415104041262]],
    ['zone', ['', 'europe-west1-', 'europe-west1-c/../x', 'EUROPE-west1-c', '1a', 'z'.repeat(64), null]],
    ['instance_id', ['', '0', '012', 'i-0123', '123;reboot', '123456789012345678901', 4520031799277582000]],
  ])('is ignored when its label %s is malformed', (label, values) => {
    for (const value of values) {
      const labelled = changed(first, `data.resource.labels.${label}`, value);
      const event = changed(labelled, 'data.protoPayload.resourceName', 'x');
      expect(parseEvent(event)).toMatchObject({ kind: 'ignored' });
    }
  });
});
