import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { parseAddress } from '../../../shared/core/model/cidr';
import { PermanentError, RetryableError } from '../../../shared/core/model/errors';
import type { NodeRef } from '../../../shared/core/model/node';
import { labAccount, labRegion } from '../../lab/aws/cloud';
import { soon, startCloud, subnetId, vpcId } from '../cloud';

const ref = (id: string): NodeRef => ({ cloud: 'aws', account: labAccount, region: labRegion, id });

let lab: Awaited<ReturnType<typeof startCloud>>;

beforeEach(async () => {
  lab = await startCloud();
  lab.aws.addNetwork({ vpcId, cidrs: ['172.20.0.0/16'], subnetIds: [subnetId] });
});
afterEach(() => lab.close());

const get = (...ids: string[]) => lab.cloud.nodes.get(ids.map(ref), soon());

describe('a node', () => {
  test('is read from the description of its instance', async () => {
    const id = lab.aws.addNode({ subnetId, cluster: 'frontend', tags: { Name: 'node-1' } });
    expect(await get(id)).toEqual([
      {
        ref: ref(id),
        name: 'node-1',
        address: parseAddress('172.20.0.4'),
        clusters: ['frontend'],
        state: 'running',
        platform: 'linux',
        isControlPlane: false,
        launchedAt: lab.aws.state.instances.get(id)?.launchTime,
        network: { vpcId, subnetId, otherSubnetIds: [] },
      },
    ]);
  });

  test.each<[string, Record<string, string>]>([
    ['kOps', { 'k8s.io/role/control-plane': '1' }],
    ['kOps before 1.24', { 'k8s.io/role/master': '1' }],
    ['Cluster API', { 'sigs.k8s.io/cluster-api-provider-aws/role': 'control-plane' }],
  ])('is a control-plane node when it has the tags of %s', async (_, tags) => {
    const [node] = await get(lab.aws.addNode({ subnetId, tags }));
    expect(node?.isControlPlane).toBe(true);
  });

  test('is not a control-plane node when its tags say it is a Cluster API worker', async () => {
    const tags = { 'sigs.k8s.io/cluster-api-provider-aws/role': 'node' };
    const [node] = await get(lab.aws.addNode({ subnetId, tags }));
    expect(node?.isControlPlane).toBe(false);
  });

  test.each<[string, Record<string, string>, string[]]>([
    ['Kubernetes', { 'kubernetes.io/cluster/a.example.com': 'owned' }, ['a.example.com']],
    ['Kubernetes, shared', { 'kubernetes.io/cluster/a': 'shared' }, ['a']],
    ['Kubernetes, by old installers', { 'kubernetes.io/cluster/a': 'true' }, ['a']],
    ['EKS', { 'eks:cluster-name': 'a' }, ['a']],
    ['EKS managed node groups', { 'aws:eks:cluster-name': 'a' }, ['a']],
    ['Karpenter', { 'eks:eks-cluster-name': 'a' }, ['a']],
    ['kOps', { KubernetesCluster: 'a' }, ['a']],
    ['the same cluster twice', { KubernetesCluster: 'a', 'kubernetes.io/cluster/a': 'owned' }, ['a']],
    ['two clusters', { KubernetesCluster: 'b', 'eks:cluster-name': 'a' }, ['a', 'b']],
    ['no tag', { Name: 'bastion', 'kubernetes.io/role/node': '1' }, []],
    ['a shell command as a name', { 'eks:cluster-name': '$(reboot)' }, ['$(reboot)']],
    ['a malformed and a valid name', { KubernetesCluster: 'a', 'eks:cluster-name': '-b ' }, ['-b ', 'a']],
    ['an empty name', { 'kubernetes.io/cluster/': 'owned', KubernetesCluster: '' }, []],
    ['a name with a line break', { 'eks:cluster-name': 'a\nb' }, ['a\nb']],
    ['XML markup', { Name: '<b>&amp;</b>', 'eks:cluster-name': 'a' }, ['a']],
  ])('belongs to the clusters that its tags name: %s', async (_, tags, clusters) => {
    const [node] = await get(lab.aws.addNode({ subnetId, tags }));
    expect(node?.clusters).toEqual(clusters);
    if ('Name' in tags) expect(node?.name).toBe(tags['Name']);
  });

  test.each([
    ['pending', 'starting'],
    ['running', 'running'],
    ['stopping', 'stopped'],
    ['stopped', 'stopped'],
    ['shutting-down', 'gone'],
    ['terminated', 'gone'],
  ] as const)('whose instance is %s has the state %s', async (state, expected) => {
    const [node] = await get(lab.aws.addNode({ subnetId, state }));
    expect(node?.state).toBe(expected);
  });

  test('has the platform that its instance or its image name indicates', async () => {
    const { images } = lab.aws.state;
    images.set('ami-0000000000000000a', {
      name: 'bottlerocket-aws-k8s-1.33-x86_64-v1.40.0',
      isDeprecated: true,
    });
    images.set('ami-0000000000000000b', { name: 'amazon-eks-node-al2023-x86_64', isDeprecated: false });
    const ids = [
      lab.aws.addNode({ subnetId, platformDetails: 'Windows with SQL Server Standard' }),
      lab.aws.addNode({ subnetId, imageId: 'ami-0000000000000000a' }),
      lab.aws.addNode({ subnetId, imageId: 'ami-0000000000000000b' }),
      lab.aws.addNode({ subnetId, imageId: 'ami-0000000000000000c' }),
    ];
    expect((await get(...ids)).map(({ platform }) => platform)).toEqual([
      'windows',
      'bottlerocket',
      'linux',
      'linux',
    ]);
    await get(...ids);
    expect(lab.aws.count('DescribeImages')).toBe(1);
  });
});

describe('the recorded status of a node', () => {
  const ruleSetId = 'a'.repeat(64);
  const hourMs = 3_600_000;
  const before = new Date(Date.now() - hourMs);
  const since = new Date(Date.now() + hourMs);
  const earlier = before.toISOString();
  const later = since.toISOString();
  const proven = { ruleSetId, isProven: true, at: since };
  const unproven = { ruleSetId, isProven: false, at: since };
  const unreadable = { ruleSetId, isProven: false };

  test.each<[string, string, object]>([
    ['is a proof if it was written since the launch', `proven ${later} format=2`, proven],
    ['has a number of routes', `proven ${later} routes=7 format=2`, { ...proven, routes: 7 }],
    [
      'is not a proof if an outdated program wrote it',
      `proven ${later} routes=7`,
      { ...unproven, routes: 7 },
    ],
    ['is a failure if a failure was recorded since the launch', `failed ${later}`, unproven],
    [
      'is not a proof during a push',
      `pushed ${later} ruleset=${'b'.repeat(12)} routes=7`,
      { ...unproven, routes: 7 },
    ],
    [
      'is not a proof if it was written before the launch, for example on another instance or before a stop',
      `proven ${earlier} format=2`,
      { ...unproven, at: before },
    ],
    ['is not a proof if its time is invalid', 'proven yesterday', unreadable],
    ['is not a proof if its state is unknown', `fine ${later}`, unreadable],
    ['is not a proof if its number of routes is invalid', `proven ${later} routes=-1 format=2`, unreadable],
    ['is not a proof if it is empty', '', unreadable],
  ])('%s', async (_, status, recorded) => {
    const tags = { 'peermasq:ruleset': ruleSetId, 'peermasq:status': status };
    const [node] = await get(lab.aws.addNode({ subnetId, tags }));
    expect(node?.recorded).toEqual(recorded);
  });

  test('is ignored when the rule set ID is invalid', async () => {
    const tags = { 'peermasq:ruleset': 'a', 'peermasq:status': `proven ${later}` };
    const [node] = await get(lab.aws.addNode({ subnetId, tags }));
    expect(node?.recorded).toBeUndefined();
  });
});

describe('a lookup of nodes by ID', () => {
  test('leaves out instances that do not exist, which takes one more call', async () => {
    const id = lab.aws.addNode({ subnetId });
    const nodes = await get('i-0aaaaaaaaaaaaaaaa', id, 'i-0bbbbbbbbbbbbbbbb');
    expect(nodes.map((node) => node.ref.id)).toEqual([id]);
    expect(lab.aws.count('DescribeInstances')).toBe(2);
  });

  test('leaves out malformed IDs', async () => {
    const id = lab.aws.addNode({ subnetId });
    const nodes = await get('i-123456789', id, 'i-x');
    expect(nodes.map((node) => node.ref.id)).toEqual([id]);
  });

  test('returns nothing when no instance exists', async () => {
    expect(await get('i-0aaaaaaaaaaaaaaaa')).toEqual([]);
  });

  test('takes two calls for 1,500 IDs', async () => {
    const ids = Array.from({ length: 1_500 }, () => lab.aws.addNode({ subnetId }));
    expect(await get(...ids)).toHaveLength(1_500);
    expect(lab.aws.count('DescribeInstances')).toBe(2);
  });

  test('takes two calls for the images of 200 nodes, because filters are limited', async () => {
    const image = (i: number) => `ami-${i.toString(16).padStart(17, '0')}`;
    const ids = Array.from({ length: 200 }, (_, i) => lab.aws.addNode({ subnetId, imageId: image(i) }));
    expect(await get(...ids)).toHaveLength(200);
    expect(lab.aws.count('DescribeImages')).toBe(2);
  });

  test('takes no call when there are no IDs', async () => {
    expect(await get()).toEqual([]);
    expect(lab.aws.calls).toEqual([]);
  });
});

describe('a lookup of nodes by cluster', () => {
  beforeEach(() => {
    lab.aws.addNode({ subnetId, cluster: 'a' });
    lab.aws.addNode({ subnetId, tags: { 'eks:cluster-name': 'b' } });
    lab.aws.addNode({ subnetId, tags: { KubernetesCluster: 'c' } });
    lab.aws.addNode({ subnetId, cluster: 'a', state: 'terminated' });
    lab.aws.addNode({ subnetId, tags: { Name: 'bastion' } });
  });
  const list = async (...clusters: string[]) =>
    (await lab.cloud.nodes.list(clusters, soon())).map((node) => node.clusters.join());

  test.each([
    [['a'], ['a']],
    [
      ['b', 'c'],
      ['b', 'c'],
    ],
    [['*'], ['a', 'b', 'c']],
    [['A?', 'b*'], []],
    [[String.raw`\a`], []],
    [['unknown'], []],
  ])('for the clusters %j returns the nodes of %j', async (requested, found) => {
    expect(await list(...requested)).toEqual(found);
  });

  test.each([194, 195])(
    'for %i clusters filters by cluster name only when the names fit in a filter',
    async (count) => {
      const clusters = ['a', ...Array.from({ length: count - 1 }, (_, i) => `cluster-${i}`)];
      expect(await list(...clusters)).toEqual(['a']);
      const request = JSON.stringify(
        lab.aws.calls.find(({ action }) => action === 'DescribeInstances')?.input,
      );
      expect(request.includes('kubernetes.io/cluster/*')).toBe(count > 194);
    },
  );

  test('reads every page', async () => {
    lab.aws.state.pageSize = 1;
    expect(await list('*')).toEqual(['a', 'b', 'c']);
    expect(lab.aws.count('DescribeInstances')).toBe(3);
  });
});

describe('a failed EC2 call', () => {
  test('is retried when it is throttled', async () => {
    const id = lab.aws.addNode({ subnetId });
    lab.aws.throttle('DescribeInstances', 1);
    expect(await get(id)).toHaveLength(1);
  });

  test('is permanent and names the permission when access is denied', async () => {
    lab.aws.deny('ec2:DescribeInstances');
    const error = await get('i-0aaaaaaaaaaaaaaaa').catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(PermanentError);
    expect(error).toMatchObject({
      code: 'access-denied',
      message: expect.stringContaining('ec2:DescribeInstances on *'),
      advice: expect.stringContaining('the statement DiscoverNodes'),
      cause: expect.objectContaining({ name: 'UnauthorizedOperation' }),
    });
  });

  test('is retryable when the service is unavailable', async () => {
    lab.aws.fail('DescribeInstances', 'Unavailable', 'The server is overloaded', 9, 503);
    const error = await lab.cloud.nodes.get([ref('i-0aaaaaaaaaaaaaaaa')], soon()).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RetryableError);
    expect(error).toMatchObject({ code: 'unavailable' });
  });

  test('is not made after the deadline', async () => {
    const error = await lab.cloud.nodes
      .get([ref('i-0aaaaaaaaaaaaaaaa')], Date.now())
      .catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RetryableError);
    expect(error).toMatchObject({ code: 'out-of-time' });
    expect(lab.aws.calls).toEqual([]);
  });
});
