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

describe('a node as EC2 describes it', () => {
  test('its own facts', async () => {
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
        network: { vpcId, subnetId },
      },
    ]);
  });

  test.each<[string, Record<string, string>]>([
    ['kOps', { 'k8s.io/role/control-plane': '1' }],
    ['kOps before 1.24', { 'k8s.io/role/master': '1' }],
    ['Cluster API', { 'sigs.k8s.io/cluster-api-provider-aws/role': 'control-plane' }],
  ])('a node of the control plane, as %s tags it', async (_, tags) => {
    const [node] = await get(lab.aws.addNode({ subnetId, tags }));
    expect(node?.isControlPlane).toBe(true);
  });

  test('a worker of Cluster API is none of the control plane', async () => {
    const tags = { 'sigs.k8s.io/cluster-api-provider-aws/role': 'node' };
    const [node] = await get(lab.aws.addNode({ subnetId, tags }));
    expect(node?.isControlPlane).toBe(false);
  });

  test.each<[string, Record<string, string>, string[]]>([
    ['Kubernetes', { 'kubernetes.io/cluster/a.example.com': 'owned' }, ['a.example.com']],
    ['Kubernetes, shared', { 'kubernetes.io/cluster/a': 'shared' }, ['a']],
    ['Kubernetes, as old installers wrote it', { 'kubernetes.io/cluster/a': 'true' }, ['a']],
    ['EKS', { 'eks:cluster-name': 'a' }, ['a']],
    ['EKS managed node groups', { 'aws:eks:cluster-name': 'a' }, ['a']],
    ['Karpenter', { 'eks:eks-cluster-name': 'a' }, ['a']],
    ['kOps', { KubernetesCluster: 'a' }, ['a']],
    ['the same cluster twice', { KubernetesCluster: 'a', 'kubernetes.io/cluster/a': 'owned' }, ['a']],
    ['two clusters', { KubernetesCluster: 'b', 'eks:cluster-name': 'a' }, ['a', 'b']],
    ['none', { Name: 'bastion', 'kubernetes.io/role/node': '1' }, []],
    ['a name that is a command', { 'eks:cluster-name': '$(reboot)' }, ['$(reboot)']],
    ['an odd name beside a good one', { KubernetesCluster: 'a', 'eks:cluster-name': '-b ' }, ['-b ', 'a']],
    ['an empty name', { 'kubernetes.io/cluster/': 'owned', KubernetesCluster: '' }, []],
    ['a name with a line break', { 'eks:cluster-name': 'a\nb' }, ['a\nb']],
    ['markup', { Name: '<b>&amp;</b>', 'eks:cluster-name': 'a' }, ['a']],
  ])('clusters: %s', async (_, tags, clusters) => {
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
  ] as const)('state: %s is %s', async (state, expected) => {
    const [node] = await get(lab.aws.addNode({ subnetId, state }));
    expect(node?.state).toBe(expected);
  });

  test('platform: by its details, or by the name of its image', async () => {
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

describe('what a node last proved', () => {
  const ruleSetId = 'a'.repeat(64);
  const hour = 3_600_000;
  const [before, since] = [-hour, hour].map((ms) => new Date(Date.now() + ms)) as [Date, Date];
  const proven = (at: Date, isProven: boolean) => ({ ruleSetId, isProven, at });
  const [earlier, later] = [before.toISOString(), since.toISOString()];

  test.each<[string, string, string, object | undefined]>([
    ['proven since it started', ruleSetId, `proven ${later}`, proven(since, true)],
    ['of how many routes', ruleSetId, `proven ${later} routes=7`, { ...proven(since, true), routes: 7 }],
    ['failed since it started', ruleSetId, `failed ${later}`, proven(since, false)],
    [
      'pushed to since it was proven',
      ruleSetId,
      `pushed ${later} ruleset=${'b'.repeat(12)} routes=7`,
      { ...proven(since, false), routes: 7 },
    ],
    [
      'proven before: by another instance, or before a stop',
      ruleSetId,
      `proven ${earlier}`,
      proven(before, false),
    ],
    ['proven at no time', ruleSetId, 'proven yesterday', { ruleSetId, isProven: false }],
    ['an unknown verdict', ruleSetId, `fine ${later}`, { ruleSetId, isProven: false }],
    [
      'a number of routes that is none',
      ruleSetId,
      `proven ${later} routes=-1`,
      { ruleSetId, isProven: false },
    ],
    ['no status', ruleSetId, '', { ruleSetId, isProven: false }],
    ['an id that is none', 'a', `proven ${later}`, undefined],
  ])('%s', async (_, id, status, recorded) => {
    const tags = { 'peermasq:ruleset': id, 'peermasq:status': status };
    const [node] = await get(lab.aws.addNode({ subnetId, tags }));
    expect(node?.recorded).toEqual(recorded);
  });
});

describe('looking up by id', () => {
  test('instances that do not exist are left out, in two calls', async () => {
    const id = lab.aws.addNode({ subnetId });
    const nodes = await get('i-0aaaaaaaaaaaaaaaa', id, 'i-0bbbbbbbbbbbbbbbb');
    expect(nodes.map((node) => node.ref.id)).toEqual([id]);
    expect(lab.aws.count('DescribeInstances')).toBe(2);
  });

  test('an id that EC2 cannot read is left out like one that does not exist', async () => {
    const id = lab.aws.addNode({ subnetId });
    const nodes = await get('i-123456789', id, 'i-x');
    expect(nodes.map((node) => node.ref.id)).toEqual([id]);
  });

  test('none exists', async () => {
    expect(await get('i-0aaaaaaaaaaaaaaaa')).toEqual([]);
  });

  test('1,500 ids take two calls', async () => {
    const ids = Array.from({ length: 1_500 }, () => lab.aws.addNode({ subnetId }));
    expect(await get(...ids)).toHaveLength(1_500);
    expect(lab.aws.count('DescribeInstances')).toBe(2);
  });

  test('as many images as filters hold', async () => {
    const image = (i: number) => `ami-${i.toString(16).padStart(17, '0')}`;
    const ids = Array.from({ length: 200 }, (_, i) => lab.aws.addNode({ subnetId, imageId: image(i) }));
    expect(await get(...ids)).toHaveLength(200);
    expect(lab.aws.count('DescribeImages')).toBe(2);
  });

  test('nothing to look up takes no call', async () => {
    expect(await get()).toEqual([]);
    expect(lab.aws.calls).toEqual([]);
  });
});

describe('looking up by cluster', () => {
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
    [['nobody'], []],
  ])('%j', async (asked, found) => {
    expect(await list(...asked)).toEqual(found);
  });

  test.each([194, 195])('%i clusters: by their names as long as filters hold them', async (count) => {
    const clusters = ['a', ...Array.from({ length: count - 1 }, (_, i) => `cluster-${i}`)];
    expect(await list(...clusters)).toEqual(['a']);
    const asked = JSON.stringify(lab.aws.calls.find(({ action }) => action === 'DescribeInstances')?.input);
    expect(asked.includes('kubernetes.io/cluster/*')).toBe(count > 194);
  });

  test('page by page', async () => {
    lab.aws.state.pageSize = 1;
    expect(await list('*')).toEqual(['a', 'b', 'c']);
    expect(lab.aws.count('DescribeInstances')).toBe(3);
  });
});

describe('refusals', () => {
  test('a throttled call is made again', async () => {
    const id = lab.aws.addNode({ subnetId });
    lab.aws.throttle('DescribeInstances', 1);
    expect(await get(id)).toHaveLength(1);
  });

  test('a missing permission is permanent, and says which', async () => {
    lab.aws.deny('ec2:DescribeInstances');
    const error = await get('i-0aaaaaaaaaaaaaaaa').catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(PermanentError);
    expect(error).toMatchObject({
      code: 'access-denied',
      message: expect.stringContaining('ec2:DescribeInstances on *'),
      advice: expect.stringContaining('its statement DiscoverNodes'),
      cause: expect.objectContaining({ name: 'UnauthorizedOperation' }),
    });
  });

  test('an unavailable service is retryable', async () => {
    lab.aws.fail('DescribeInstances', 'Unavailable', 'The server is overloaded', 9, 503);
    const error = await lab.cloud.nodes.get([ref('i-0aaaaaaaaaaaaaaaa')], soon()).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RetryableError);
    expect(error).toMatchObject({ code: 'unavailable' });
  });

  test('no time is left', async () => {
    const error = await lab.cloud.nodes
      .get([ref('i-0aaaaaaaaaaaaaaaa')], Date.now())
      .catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RetryableError);
    expect(error).toMatchObject({ code: 'out-of-time' });
    expect(lab.aws.calls).toEqual([]);
  });
});
