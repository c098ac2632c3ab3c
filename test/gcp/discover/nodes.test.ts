import { describe, expect, test } from '@jest/globals';
import { addVm, callsOf, type LabVm } from '../../lab/gcp/state';
import { CloudLab, gke, inSeconds, refOf } from '../cloud-lab';

const lab = new CloudLab();

describe('discovery of nodes', () => {
  test('finds nodes by their numeric ID, and omits IDs that do not exist', async () => {
    const vm = addVm(lab.state, { name: 'gke-frontend-1', ...gke('frontend-cluster') });
    const refs = [refOf(vm), refOf(vm), { ...refOf(vm), id: '17' }];
    expect(await lab.cloud.nodes.get(refs, inSeconds(10))).toEqual([
      {
        ref: refOf(vm),
        name: 'gke-frontend-1',
        clusters: ['frontend-cluster'],
        state: 'running',
        platform: 'linux',
        isControlPlane: false,
        instance: expect.objectContaining({ name: 'gke-frontend-1' }) as unknown,
      },
    ]);
  });

  test('lists the nodes in a cluster, or in all clusters, from all pages', async () => {
    lab.state.pageSize = 2;
    for (const cluster of ['blue', 'blue', 'green', 'blue', 'blue']) {
      addVm(lab.state, { ...gke(cluster), zone: `europe-west1-${cluster[0]}` });
    }
    addVm(lab.state, { name: 'a-database' });
    expect(await lab.cloud.nodes.list(['blue'], inSeconds(10))).toHaveLength(4);
    expect(await lab.cloud.nodes.list(['*'], inSeconds(10))).toHaveLength(5);
    expect(callsOf(lab.state, 'compute.instances.aggregatedList')).toBe(6);
    expect(lab.state.calls).toHaveLength(6);
  });

  test.each<[string, Partial<LabVm>, string[]]>([
    ['the GKE label', gke('frontend-cluster'), ['frontend-cluster']],
    [
      'the metadata key cluster-name',
      { metadata: [{ key: 'cluster-name', value: 'k8s.example.com' }] },
      ['k8s.example.com'],
    ],
    ['a label key', { labels: { 'kubernetes-io-cluster-blue-x7k2': 'owned' } }, ['blue-x7k2']],
    ['a network tag', { tags: ['ssh', 'kubernetes-io-cluster-blue'] }, ['blue']],
    [
      'a label and a metadata value that are equal',
      { ...gke('one'), metadata: [{ key: 'cluster-name', value: 'one' }] },
      ['one'],
    ],
    [
      'a label and a network tag that differ',
      { ...gke('one'), tags: ['kubernetes-io-cluster-two'] },
      ['one', 'two'],
    ],
    ['a malformed name, unchanged', { metadata: [{ key: 'cluster-name', value: '$(x)' }] }, ['$(x)']],
    [
      'a valid name and a malformed name, which together are ambiguous',
      { ...gke('one'), metadata: [{ key: 'cluster-name', value: '-two' }] },
      ['one', '-two'],
    ],
    ['nothing', {}, []],
  ])("reads the cluster's name from %s", async (_, vm, clusters) => {
    expect((await lab.nodeOf(addVm(lab.state, vm))).clusters).toEqual(clusters);
  });

  test.each([
    ['STAGING', 'starting'],
    ['RUNNING', 'running'],
    ['TERMINATED', 'stopped'],
    ['SUSPENDING', 'stopped'],
    ['A_FUTURE_STATUS', 'stopped'],
  ])('maps status %s to %s', async (status, expected) => {
    expect((await lab.nodeOf(addVm(lab.state, { status }))).state).toBe(expected);
  });

  test.each<[string, LabVm['disks'][number]]>([
    ['feature', { boot: true, guestOsFeatures: [{ type: 'UEFI_COMPATIBLE' }, { type: 'WINDOWS' }] }],
    [
      'licence',
      {
        boot: true,
        licenses: [
          'https://www.googleapis.com/compute/v1/projects/windows-cloud/global/licenses/windows-server-2022-dc',
        ],
      },
    ],
  ])('recognises Windows by a %s of the boot disk', async (_, disk) => {
    expect((await lab.nodeOf(addVm(lab.state, { disks: [disk] }))).platform).toBe('windows');
  });

  test('recognises a kOps control-plane node by its label', async () => {
    const vm = addVm(lab.state, { labels: { 'k8s-io-role-control-plane': 'control-plane' } });
    expect(await lab.nodeOf(vm)).toMatchObject({ isControlPlane: true });
  });
});
