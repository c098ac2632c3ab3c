import { describe, expect, test } from '@jest/globals';
import { pruneProtos, type Descriptor } from '../../../infra/bundle/prune-protos';

const field = (type: string) => ({ type, id: 1 });

/** Returns a package `p` with services, the types that their methods need, and unused types. */
const api = (more: Record<string, Descriptor> = {}): Descriptor => ({
  nested: {
    p: {
      nested: {
        Nodes: {
          methods: {
            Get: { requestType: 'GetRequest', responseType: 'Node' },
            Drop: { requestType: 'DropRequest', responseType: 'Node' },
          },
        },
        Clusters: { methods: { Get: { requestType: 'GetRequest', responseType: 'Cluster' } } },
        GetRequest: { fields: { name: field('string') } },
        DropRequest: { fields: { name: field('string') } },
        Node: {
          fields: { state: field('State'), disks: field('.p.Disk'), parent: field('Node') },
          nested: { State: {}, Unused: {} },
        },
        // Not used, because a field in Node refers to the nested State in Node.
        State: {},
        Disk: { fields: { size: field('int64') } },
        Cluster: { fields: { nodes: field('Node') } },
        ...more,
      },
    },
    google: { nested: { protobuf: { nested: { Any: { fields: { value: field('bytes') } }, Empty: {} } } } },
  },
});
const withAny = api({ Disk: { fields: { details: field('google.protobuf.Any') } } });

describe('pruning the API description', () => {
  test('keeps the requested methods and the types that they use, unchanged and in the same namespaces', () => {
    expect(pruneProtos(api(), 'p', { Nodes: ['Get'] }, [])).toEqual({
      nested: {
        p: {
          nested: {
            Nodes: { methods: { Get: { requestType: 'GetRequest', responseType: 'Node' } } },
            GetRequest: { fields: { name: field('string') } },
            Node: {
              fields: { state: field('State'), disks: field('.p.Disk'), parent: field('Node') },
              nested: { State: {} },
            },
            Disk: { fields: { size: field('int64') } },
          },
        },
      },
    });
  });

  test('keeps a field of type Any only if the field is listed', () => {
    expect(pruneProtos(withAny, 'p', { Nodes: ['Get'] }, ['Disk.details'])).toMatchObject({
      nested: { google: { nested: { protobuf: { nested: { Any: {} } } } } },
    });
  });

  test.each([
    ['a method', api(), { Nodes: ['Fetch'] }, [], 'p.Nodes no longer has the method Fetch'],
    ['a service', api(), { Pods: ['Get'] }, [], 'p.Pods no longer has the method Get'],
    [
      'a type',
      api({ Disk: { fields: { kind: field('DiskKind') } } }),
      { Nodes: ['Get'] },
      [],
      'The type DiskKind, which p.Disk refers to, does not exist',
    ],
    [
      'an untyped field',
      api(),
      { Nodes: ['Get'] },
      ['Disk.details'],
      'Fields that no longer exist: Disk.details',
    ],
    ['the entry for a field of type Any', withAny, { Nodes: ['Get'] }, [], 'Disk.details may hold any type'],
  ])('fails the build if %s is missing', (_, descriptor, methods, untyped, message) => {
    expect(() => pruneProtos(descriptor, 'p', methods, untyped)).toThrow(message);
  });
});
