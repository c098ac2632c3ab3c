import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { parseCidr } from '../../shared/core/model/cidr';
import { PermanentError, RetryableError } from '../../shared/core/model/errors';
import { nodeKey } from '../../shared/core/model/node';
import type { GcpNode } from '../../shared/gcp/discover/instance';
import type { Cloud, PushedNode } from '../../shared/core/cloud';
import type { Report } from '../../shared/core/model/report';
import {
  packRuleSet,
  parseRuleSet,
  printRuleSet,
  ruleSetId,
  type RuleSet,
} from '../../shared/core/model/rule-set';
import { makeCloud } from '../../shared/gcp/cloud';
import { composeStartupScript, originalStartupScript } from '../../shared/gcp/deliver/startup-script';
import { startLocalGcp, type LocalGcp } from '../lab/gcp/cloud';
import {
  addVm,
  callsOf,
  metadataOf,
  networkUrl,
  subnetworkUrl,
  type GcpState,
  type LabLearnedRoute,
  type LabVm,
} from '../lab/gcp/state';
import { makeReport } from '../lab/node-report';

const program = '#!/bin/bash\n# peermasq: the node program\n';

/** What a push of this rule set leaves in the metadata of a node that had none. */
const assigned = (value: string) => [
  { key: 'peermasq-ruleset', value },
  { key: 'peermasq-program', value: program },
  { key: 'startup-script', value: composeStartupScript(undefined) },
  { key: 'enable-guest-attributes', value: 'TRUE' },
];

let lab: LocalGcp;
let state: GcpState;
let cloud: Cloud<GcpNode>;

beforeAll(async () => {
  lab = await startLocalGcp();
  state = lab.cloud;
  Object.assign(process.env, lab.env);
  cloud = makeCloud({ projects: ['identity-nonprod'], program });
  const metadata = [{ key: 'enable-guest-attributes', value: 'TRUE' }];
  state.projects['identity-nonprod'] = { number: '415104041262', metadata };
  // The first call pays for the clients: half a minute is what a slow machine takes.
  addVm(state);
  await cloud.nodes.list(['*'], inSeconds(60));
}, 60_000);

afterAll(() => lab.close());

beforeEach(() => {
  Object.assign(state, {
    vms: [],
    networks: [],
    subnetworks: [],
    routes: [],
    routers: [],
    injectedErrors: [],
    calls: [],
    pageSize: 500,
    keepsStartOnReset: false,
    operationMs: 20,
    maxOperationWaitMs: 120_000,
  });
  delete state.operationError;
});

const inSeconds = (seconds: number) => Date.now() + seconds * 1000;

const refOf = ({ project, zone, id }: LabVm) => ({ cloud: 'gcp', project, zone, id }) as const;

async function nodeOf(vm: LabVm): Promise<GcpNode> {
  const [node] = await cloud.nodes.get([refOf(vm)], inSeconds(10));
  if (!node) throw new Error(`no node ${vm.name}`);
  return node;
}

const gke = (cluster: string) => ({ labels: { 'goog-k8s-cluster-name': cluster } });

const ruleSet = (generation: number, destination = '10.193.0.0/16'): RuleSet => ({
  generation,
  randomFully: false,
  sources: [parseCidr('10.132.0.0/14')],
  exemptions: [],
  destinations: [{ cidr: parseCidr(destination), name: 'backend-vpc' }],
  probes: [],
});

describe('nodes', () => {
  test('are found by their numeric id, and those that do not exist are left out', async () => {
    const vm = addVm(state, { name: 'gke-frontend-1', ...gke('frontend-cluster') });
    const nodes = await cloud.nodes.get([refOf(vm), refOf(vm), { ...refOf(vm), id: '17' }], inSeconds(10));
    expect(nodes).toEqual([
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

  test('of a control plane are known by the labels of kOps', async () => {
    const vm = addVm(state, { labels: { 'k8s-io-role-control-plane': 'control-plane' } });
    expect(await cloud.nodes.get([refOf(vm)], inSeconds(10))).toMatchObject([{ isControlPlane: true }]);
  });

  test.each<[string, Partial<LabVm>, string[]]>([
    ['the GKE label', gke('frontend-cluster'), ['frontend-cluster']],
    [
      'metadata cluster-name',
      { metadata: [{ key: 'cluster-name', value: 'k8s.example.com' }] },
      ['k8s.example.com'],
    ],
    ['a label key', { labels: { 'kubernetes-io-cluster-blue-x7k2': 'owned' } }, ['blue-x7k2']],
    ['a network tag', { tags: ['ssh', 'kubernetes-io-cluster-blue'] }, ['blue']],
    [
      'label and metadata alike',
      { ...gke('one'), metadata: [{ key: 'cluster-name', value: 'one' }] },
      ['one'],
    ],
    ['two that differ', { ...gke('one'), tags: ['kubernetes-io-cluster-two'] }, ['one', 'two']],
    [
      'a value that no cluster has, as it is',
      { metadata: [{ key: 'cluster-name', value: '$(x)' }] },
      ['$(x)'],
    ],
    [
      'a good name and a malformed one, so that it is ambiguous',
      { ...gke('one'), metadata: [{ key: 'cluster-name', value: '-two' }] },
      ['one', '-two'],
    ],
    ['nothing', {}, []],
  ])('take their cluster from %s', async (_, vm, clusters) => {
    expect((await nodeOf(addVm(state, vm))).clusters).toEqual(clusters);
  });

  test.each([
    ['STAGING', 'starting'],
    ['RUNNING', 'running'],
    ['TERMINATED', 'stopped'],
    ['SUSPENDING', 'stopped'],
    ['A_STATUS_OF_TOMORROW', 'stopped'],
  ])('in status %s are %s', async (status, expected) => {
    expect((await nodeOf(addVm(state, { status }))).state).toBe(expected);
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
  ])('are told to be Windows by the %s of their boot disk', async (_, disk) => {
    expect((await nodeOf(addVm(state, { disks: [disk] }))).platform).toBe('windows');
  });

  test('are listed over all pages, by cluster', async () => {
    state.pageSize = 2;
    for (const cluster of ['blue', 'blue', 'green', 'blue', 'blue']) {
      addVm(state, { ...gke(cluster), zone: `europe-west1-${cluster[0]}` });
    }
    addVm(state, { name: 'a-database' });
    expect(await cloud.nodes.list(['blue'], inSeconds(10))).toHaveLength(4);
    expect(await cloud.nodes.list(['*'], inSeconds(10))).toHaveLength(5);
    expect(callsOf(state, 'compute.instances.aggregatedList')).toBe(6);
    expect(state.calls).toHaveLength(6);
  });

  const proven = ruleSet(1);
  const changed = ruleSet(2, '10.7.0.0/16');

  test.each<[string, { inMetadata: string; status?: string }, boolean]>([
    ['and it is what they were handed last', { inMetadata: printRuleSet(proven) }, true],
    ['in whatever generation', { inMetadata: printRuleSet({ ...proven, generation: 9 }) }, true],
    ['packed', { inMetadata: packRuleSet(proven) }, true],
    ['unless they were handed another rule set since', { inMetadata: printRuleSet(changed) }, false],
    ['unless they start again', { inMetadata: printRuleSet(proven), status: 'STAGING' }, false],
    ['unless they are about to stop', { inMetadata: printRuleSet(proven), status: 'PENDING_STOP' }, false],
  ])('have proven what they reported, %s', async (_, { inMetadata, status = 'RUNNING' }, isProven) => {
    const vm = addVm(state, { status, metadata: assigned(inMetadata) });
    vm.guestAttributes['peermasq/status'] = report(ruleSetId(proven));
    expect((await nodeOf(vm)).recorded?.isProven).toBe(isProven);
  });

  test('have nothing on record where what they were handed is unreadable', async () => {
    const vm = addVm(state, { metadata: [{ key: 'peermasq-ruleset', value: 'x' }] });
    vm.guestAttributes['peermasq/status'] = report(ruleSetId(proven));
    expect((await nodeOf(vm)).recorded).toBeUndefined();
  });

  test('have what they were handed on record, and of how many routes it was made, before they report', async () => {
    const metadata = [
      { key: 'peermasq-ruleset', value: printRuleSet(proven) },
      { key: 'peermasq-routes', value: '7' },
    ];
    const recorded = { ruleSetId: ruleSetId(proven), isProven: false, routes: 7 };
    expect((await nodeOf(addVm(state, { metadata }))).recorded).toEqual(recorded);
  });

  describe('remember a proof in a label', () => {
    const noon = new Date('2026-11-21T12:00:00Z');
    const seconds = (date: Date) => Math.floor(date.getTime() / 1_000);
    const label = (id = ruleSetId(proven), state = 'proven') =>
      `${state}-${id.slice(0, 12)}-${seconds(noon)}`;
    const labelled = (value: string, over: Partial<LabVm> = {}): LabVm => {
      const vm = addVm(state, {
        ...gke('frontend'),
        metadata: assigned(printRuleSet(proven)),
        ...over,
      });
      vm.labels['peermasq-status'] = value;
      // Not one of those that this minute looks behind the label.
      vm.id = String(
        67n * (10n ** 14n + BigInt(state.vms.length)) + BigInt(Math.floor(Date.now() / 60_000) % 67) + 33n,
      );
      return vm;
    };
    /** Another one was in force in between. */
    const since = (date: Date) => ({ ...proven, generation: date.getTime() + 1_000 });
    const replaced = (key: string) => (value: string) =>
      assigned(printRuleSet(proven)).map((item) => (item.key === key ? { key, value } : item));
    const [withProgram, withScript] = [replaced('peermasq-program'), replaced('startup-script')];
    const reportReads = () => callsOf(state, 'compute.instances.getGuestAttributes');

    test('so that they need not be asked', async () => {
      const vm = labelled(label(), { lastStartTimestamp: '2026-11-21T11:59:59.000-00:00' });
      const recorded = { ruleSetId: ruleSetId(proven), isProven: true, at: noon };
      expect((await nodeOf(vm)).recorded).toEqual(recorded);
      expect(reportReads()).toBe(0);
    });

    test.each<[string, string, Partial<LabVm>]>([
      ['of another rule set', label(ruleSetId(changed)), {}],
      [
        'from before this rule set was handed over again',
        label(),
        { metadata: assigned(printRuleSet(since(noon))) },
      ],
      ['from before it was started again', label(), { lastStartTimestamp: '2026-11-21T12:00:01.000-00:00' }],
      ['of a failure', `failed-${seconds(noon)}`, {}],
      ['that somebody else wrote', 'proven', {}],
      [
        'when it came with another version of the program',
        label(),
        { metadata: withProgram('echo older\n') },
      ],
      ['when its startup script was replaced since', label(), { metadata: withScript('echo theirs\n') }],
    ])('but not by one %s', async (_, value, over) => {
      expect((await nodeOf(labelled(value, over))).recorded?.isProven).toBe(false);
      expect(reportReads()).toBe(1);
    });

    test('and one in 67 is asked all the same, each in its minute', async () => {
      const [vm] = [labelled(label())];
      vm.id = String(67n * 10n ** 15n + BigInt(Math.floor(Date.now() / 60_000) % 67));
      const { recorded } = await nodeOf(vm);
      // The minute may just have ended.
      if (reportReads() === 0) vm.id = String(BigInt(vm.id) + 1n);
      expect((reportReads() === 0 ? await nodeOf(vm) : { recorded }).recorded?.isProven).toBe(false);
    });

    test.each([
      ['of the last boot', 1_000, true],
      ['of the boot before', -1_000, false],
    ])('a report %s counts accordingly', async (_, after, isProven) => {
      const vm = labelled('', { lastStartTimestamp: noon.toISOString() });
      const booted = seconds(noon) + after;
      vm.guestAttributes['peermasq/status'] = JSON.stringify(makeReport(proven, { booted }));
      expect((await nodeOf(vm)).recorded?.isProven).toBe(isProven);
    });

    test.each(['quota', 'unavailable'] as const)(
      'a report that cannot be read, %s, keeps no other node from its rules',
      async (kind) => {
        const [vm] = [labelled(''), labelled('')];
        state.injectedErrors.push({ method: 'compute.instances.getGuestAttributes', kind, times: 5 });
        const nodes = await cloud.nodes.list(['frontend'], inSeconds(20));
        expect(nodes).toHaveLength(2);
        expect(nodes.find(({ ref }) => ref.id === vm.id)?.recorded?.isProven).toBe(false);
      },
      20_000,
    );

    test('which a list says to do where it had to ask, and the channel does once', async () => {
      const vm = labelled('');
      vm.guestAttributes['peermasq/status'] = JSON.stringify(makeReport(proven));
      const list = async () => {
        const [node] = await cloud.nodes.list(['frontend'], inSeconds(10));
        if (!node) throw new Error('nothing was listed');
        return node;
      };
      const node = await list();
      expect(node.recorded).toMatchObject({ isProven: true, isUnrecorded: true });
      const end = { node, ruleSetId: ruleSetId(proven), state: 'proven' as const };
      expect(await cloud.channel.writeRecords([end], inSeconds(10))).toEqual([]);
      expect(vm.labels).toEqual({
        'goog-k8s-cluster-name': 'frontend',
        'peermasq-status': expect.stringMatching(
          `^proven-${ruleSetId(proven).slice(0, 12)}-\\d{10}$`,
        ) as unknown,
      });
      state.calls.length = 0;
      await cloud.channel.writeRecords([{ ...end, node: await list() }], inSeconds(10));
      expect(callsOf(state, 'compute.instances.setLabels')).toBe(0);
    });

    test('unless somebody else writes labels at that moment: the next sweep does', async () => {
      const vm = labelled('');
      const node = await nodeOf(vm);
      vm.labels['team'] = 'blue';
      const end = { node, ruleSetId: ruleSetId(proven), state: 'needs-reboot' as const };
      expect(await cloud.channel.writeRecords([end], inSeconds(10))).toMatchObject([
        { error: { code: 'conflict' } },
      ]);
      expect(vm.labels).toMatchObject({ team: 'blue', 'peermasq-status': '' });
    });
  });

  test.each(['', 'null', '{"result":"applied"}', '<html>', `{"id":"$(reboot)"}`])(
    'with the status %j have proven nothing',
    async (status) => {
      const vm = addVm(state, { metadata: [{ key: 'peermasq-ruleset', value: 'x' }] });
      vm.guestAttributes['peermasq/status'] = status;
      expect((await nodeOf(vm)).recorded).toBeUndefined();
    },
  );
});

const report = (id: string | null, result: Report['result'] = 'applied') =>
  JSON.stringify(makeReport(undefined, { result, proven: result === 'applied', id, generation: 1 }));

test('a policy against guest attributes hides what a node proved, and stops nothing', async () => {
  const vm = addVm(state);
  const [project] = Object.values(state.projects);
  Object.assign(project ?? {}, { isGuestAttributesPolicyOn: true });
  const pushed = await cloud.channel.push(
    { ruleSet: ruleSet(1), routes: 1 },
    [await nodeOf(vm)],
    inSeconds(10),
  );
  const proofs = await cloud.channel.collectProofs(
    pushed.filter((push) => push.result === 'pushed'),
    inSeconds(2),
  );
  Object.assign(project ?? {}, { isGuestAttributesPolicyOn: false });
  expect(proofs).toMatchObject([
    { result: 'no-report', reason: expect.stringContaining('Constraint') as unknown },
  ]);
});

describe('faults', () => {
  test.each([['quota'], ['unavailable'], ['reset']] as const)(
    'of the kind %s pass unnoticed',
    async (kind) => {
      const vm = addVm(state, gke('blue'));
      state.injectedErrors.push(
        { method: 'compute.instances.get', kind, times: 2 },
        { method: 'compute.instances.setMetadata', kind, times: 2 },
      );
      const [push] = await cloud.channel.push(
        { ruleSet: ruleSet(1), routes: 1 },
        [await nodeOf(vm)],
        inSeconds(20),
      );
      expect(push?.result).toBe('pushed');
      expect(metadataOf(vm, 'peermasq-ruleset')).toBe(printRuleSet(ruleSet(1)));
    },
  );

  test('that last are retryable, and the call ends by its deadline', async () => {
    const vm = addVm(state);
    state.injectedErrors.push({ method: 'compute.instances.get', kind: 'quota', times: 100 });
    const deadline = inSeconds(1);
    await expect(cloud.nodes.get([refOf(vm)], deadline)).rejects.toMatchObject({
      constructor: RetryableError,
      code: 'throttled',
    });
    // Without a deadline a call has 30 s.
    expect(Date.now()).toBeLessThan(deadline + 10_000);
  });

  test('an API that says nothing is given up at the deadline', async () => {
    const vm = addVm(state);
    state.injectedErrors.push({ method: 'compute.instances.get', kind: 'no-response', times: 100 });
    const deadline = inSeconds(1);
    await expect(cloud.nodes.get([refOf(vm)], deadline)).rejects.toBeInstanceOf(RetryableError);
    // Without a deadline a call has 30 s.
    expect(Date.now()).toBeLessThan(deadline + 10_000);
  });

  test('a missing permission is permanent, asked once, and named', async () => {
    const node = await nodeOf(addVm(state));
    state.injectedErrors.push({ method: 'compute.instances.setMetadata', kind: 'permission', times: 100 });
    const [push] = await cloud.channel.push({ ruleSet: ruleSet(1), routes: 1 }, [node], inSeconds(10));
    expect(push).toMatchObject({
      result: 'failed',
      error: {
        constructor: PermanentError,
        code: 'permission-denied',
        advice: expect.stringContaining(
          'Grant compute.instances.setMetadata on projects/identity-nonprod/',
        ) as unknown,
      },
    });
    expect(callsOf(state, 'compute.instances.setMetadata')).toBe(1);
  });

  test('a refused token is permanent', async () => {
    const vm = addVm(state);
    const { token } = state;
    state.token = 'another';
    await expect(cloud.nodes.get([refOf(vm)], inSeconds(5))).rejects.toMatchObject({
      code: 'no-credentials',
    });
    state.token = token;
  });
});

describe('routes', () => {
  const host = 'network-host';
  const vmInVpcB = (over: Partial<LabVm> = {}) =>
    addVm(state, {
      networkInterfaces: [
        { network: networkUrl(host, 'vpc-b'), subnetwork: subnetworkUrl(host, 'europe-west1', 'nodes') },
      ],
      ...over,
    });

  beforeEach(() => {
    state.projects[host] = { number: '1', metadata: [] };
    state.networks.push({
      project: host,
      name: 'vpc-b',
      peerings: [
        { name: 'to-vpc-a', state: 'ACTIVE', network: networkUrl(host, 'vpc-a') },
        { name: 'to-old', state: 'INACTIVE', network: networkUrl(host, 'old') },
      ],
      routes: {
        'to-vpc-a/europe-west1': [
          { destRange: '10.193.0.0/16', imported: true, type: 'SUBNET_PEERING_ROUTE' },
          { destRange: '10.200.0.0/16', imported: false, type: 'STATIC_PEERING_ROUTE' },
          { destRange: '10.194.0.0/16', imported: true, type: 'DYNAMIC_PEERING_ROUTE' },
        ],
        'to-vpc-a/us-east1': [{ destRange: '10.195.0.0/16', imported: true, type: 'DYNAMIC_PEERING_ROUTE' }],
        'to-old/europe-west1': [{ destRange: '10.1.0.0/16', imported: true, type: 'SUBNET_PEERING_ROUTE' }],
      },
    });
    state.subnetworks.push(
      {
        project: host,
        region: 'europe-west1',
        name: 'nodes',
        network: 'vpc-b',
        ipCidrRange: '10.209.0.0/16',
        internalIpv6Prefix: 'fd20:0:0:0:0:0:0:0/64',
        secondaryIpRanges: [{ rangeName: 'pods', ipCidrRange: '10.132.0.0/14' }],
      },
      { project: host, region: 'us-east1', name: 'nodes', network: 'vpc-b', ipCidrRange: '10.210.0.0/16' },
      { project: host, region: 'us-east1', name: 'else', network: 'vpc-b2', ipCidrRange: '10.211.0.0/16' },
    );
  });

  const look = (nodes: readonly GcpNode[]) =>
    cloud.routes.getNetworkContexts(nodes, ['peerings', 'vpn'], inSeconds(10));
  const getNetworkContexts = async (vm: LabVm) => {
    const node = await nodeOf(vm);
    const found = (await look([node])).get(nodeKey(node.ref));
    if (!found) throw new Error('nothing found');
    return found;
  };
  const texts = (cidrs: readonly { readonly text: string }[]) => cidrs.map(({ text }) => text);

  test('are those that active peerings really bring to the region of the node', async () => {
    const { routes, network, discoveredKinds } = await getNetworkContexts(vmInVpcB());
    expect(network).toBe('vpc-b');
    expect(discoveredKinds).toEqual(['peerings', 'vpn']);
    expect(routes).toEqual([
      { kind: 'peerings', via: 'to-vpc-a', destination: '10.193.0.0/16', state: 'active' },
      { kind: 'peerings', via: 'to-vpc-a', destination: '10.194.0.0/16', state: 'active' },
    ]);
  });

  test('come over several pages', async () => {
    state.pageSize = 1;
    const { routes, networkRanges } = await getNetworkContexts(vmInVpcB());
    expect(routes).toHaveLength(2);
    expect(networkRanges).toHaveLength(4);
  });

  test('tell the ranges of the whole network of the node, and of no other', async () => {
    expect(texts((await getNetworkContexts(vmInVpcB())).networkRanges)).toEqual([
      '10.209.0.0/16',
      'fd20::/64',
      '10.132.0.0/14',
      '10.210.0.0/16',
    ]);
  });

  test('tell a VPC-native node by its alias range', async () => {
    const vm = vmInVpcB();
    const [nic] = vm.networkInterfaces;
    Object.assign(nic ?? {}, {
      aliasIpRanges: [{ ipCidrRange: '10.132.4.0/24', subnetworkRangeName: 'pods' }],
    });
    const { podRanges, arePodsRouted } = await getNetworkContexts(vm);
    expect({ podRanges: texts(podRanges), arePodsRouted }).toEqual({
      podRanges: ['10.132.0.0/14'],
      arePodsRouted: true,
    });
    expect(await getNetworkContexts(vmInVpcB())).toMatchObject({ podRanges: [], arePodsRouted: false });
  });

  test('are asked for once, however many nodes share them', async () => {
    const nodes = await Promise.all(Array.from({ length: 30 }, () => nodeOf(vmInVpcB())));
    state.calls.length = 0;
    const found = await cloud.routes.getNetworkContexts(nodes, ['peerings'], inSeconds(10));
    expect(found.size).toBe(30);
    expect(state.calls.toSorted()).toEqual([
      'compute.networks.get',
      'compute.networks.listPeeringRoutes',
      'compute.subnetworks.aggregatedList',
    ]);
  });

  const inNetwork = (network: string, subnetwork: string) => ({
    networkInterfaces: [{ network, subnetwork }],
  });
  const [nodes, elsewhere] = [subnetworkUrl(host, 'europe-west1', 'nodes'), networkUrl('elsewhere', 'vpc-b')];
  test.each<[string, Partial<LabVm>]>([
    ['a network that is not there', inNetwork(networkUrl(host, 'gone'), nodes)],
    ['a project that is not there', inNetwork(elsewhere, nodes)],
    ['no network interface', { networkInterfaces: [] }],
    ['a subnetwork that is not listed', inNetwork(networkUrl(host, 'vpc-b'), `${nodes}-2`)],
    [
      'a pod range that is unreadable',
      {
        networkInterfaces: [
          {
            network: networkUrl(host, 'vpc-b'),
            subnetwork: nodes,
            aliasIpRanges: [{ ipCidrRange: '10.132.4.0/33', subnetworkRangeName: 'gone' }],
          },
        ],
      },
    ],
  ])('are told of no node with %s, and of the others all the same', async (_, vm) => {
    const [bad, good] = [await nodeOf(vmInVpcB(vm)), await nodeOf(vmInVpcB())];
    expect([...(await look([bad, good])).keys()]).toEqual([nodeKey(good.ref)]);
  });

  test('are told of no node where a range of its network is unreadable', async () => {
    const node = await nodeOf(vmInVpcB());
    Object.assign(state.subnetworks[1] ?? {}, { ipCidrRange: '10.210.0.1/16' });
    expect(await look([node])).toEqual(new Map());
  });

  test('that may not be read are a permission to grant', async () => {
    const node = await nodeOf(vmInVpcB());
    state.injectedErrors.push({ method: 'compute.networks.get', kind: 'permission', times: 1 });
    await expect(look([node])).rejects.toMatchObject({
      code: 'permission-denied',
      advice: expect.stringContaining('Grant compute.networks.get on projects/network-host/') as unknown,
    });
  });

  test('are not asked for when the config does not ask', async () => {
    const node = await nodeOf(vmInVpcB());
    const found = await cloud.routes.getNetworkContexts([node], ['transit-gateways'], inSeconds(10));
    expect(found.get(nodeKey(node.ref))).toMatchObject({ routes: [], discoveredKinds: [] });
    const calls = state.calls.filter((call) => /listPeeringRoutes|routers|routes/.test(call));
    expect(calls).toEqual([]);
  });

  describe('over VPN and Interconnect', () => {
    const tunnel =
      'https://www.googleapis.com/compute/v1/projects/network-host/regions/europe-west1/vpnTunnels/to-aws';
    const attachment = tunnel.replace('vpnTunnels/to-aws', 'interconnectAttachments/to-office');
    const router = (region: string, destRange: string, over: Partial<LabLearnedRoute> = {}) => ({
      project: host,
      region,
      name: `router-${region}`,
      network: 'vpc-b',
      bestRoutes: [{ destRange, nextHopVpnTunnel: tunnel, ...over }],
      bestRoutesForRouter: [],
    });
    const found = async (vm = vmInVpcB()) =>
      (await getNetworkContexts(vm)).routes
        .filter(({ kind }) => kind === 'vpn')
        .map(({ via, destination, state }) => [destination, via, state]);

    test('are the static ones into a tunnel, of the own network, for the tags of the node', async () => {
      const route = { project: host, network: 'vpc-b', nextHopVpnTunnel: tunnel };
      state.routes.push(
        { ...route, name: 'all', destRange: '172.20.0.0/16' },
        { ...route, name: 'db', destRange: '172.21.0.0/16', tags: ['db'] },
        { ...route, name: 'web', destRange: '172.22.0.0/16', tags: ['web', 'api'] },
        { ...route, name: 'foreign', destRange: '172.23.0.0/16', network: 'vpc-b2' },
        { project: host, network: 'vpc-b', name: 'default', destRange: '0.0.0.0/0', nextHopGateway: 'x' },
      );
      expect(await found(vmInVpcB({ tags: ['api'] }))).toEqual([
        ['172.20.0.0/16', 'to-aws', 'active'],
        ['172.22.0.0/16', 'to-aws', 'active'],
      ]);
    });

    test('are those that a router in the region of the node tells, and their state', async () => {
      state.routers.push(router('us-east1', '172.30.0.0/16'), {
        ...router('europe-west1', '172.31.0.0/16'),
        bestRoutes: [
          { destRange: '172.31.0.0/16', nextHopVpnTunnel: tunnel },
          { destRange: '192.168.0.0/16', nextHopInterconnectAttachment: attachment },
          { destRange: '172.24.0.0/16', nextHopVpnTunnel: tunnel, routeStatus: 'DROPPED' },
          { destRange: '172.25.0.0/16', nextHopIp: '169.254.1.2', routeStatus: 'PENDING' },
        ],
      });
      expect(await found()).toEqual([
        ['172.31.0.0/16', 'to-aws', 'active'],
        ['192.168.0.0/16', 'to-office', 'active'],
        ['172.24.0.0/16', 'to-aws', 'blackhole'],
        ['172.25.0.0/16', '169.254.1.2', 'provisioning'],
      ]);
    });

    test.each([
      ['GLOBAL', [['172.30.0.0/16', 'to-aws', 'active']]],
      ['REGIONAL', []],
    ] as const)('come from other regions where routing is %s', async (routingMode, routes) => {
      const [network] = state.networks;
      if (network) network.routingMode = routingMode;
      state.routers.push(router('us-east1', '172.30.0.0/16'));
      expect(await found()).toEqual(routes);
    });
  });
});

describe('the channel', () => {
  const push = async (vm: LabVm, given = ruleSet(1)) => {
    const [result] = await cloud.channel.push(
      { ruleSet: given, routes: 1 },
      [await nodeOf(vm)],
      inSeconds(20),
    );
    if (!result) throw new Error('no result');
    return result;
  };

  test('writes rule set, program and startup script, and keeps what is there', async () => {
    const theirs = '#!/usr/bin/env python3\nprint("hello")';
    const vm = addVm(state, {
      status: 'STAGING',
      metadata: [
        { key: 'kube-env', value: 'A: b' },
        { key: 'startup-script', value: theirs },
      ],
    });
    expect((await push(vm)).result).toBe('pushed');
    expect(metadataOf(vm, 'kube-env')).toBe('A: b');
    expect(metadataOf(vm, 'peermasq-ruleset')).toBe(printRuleSet(ruleSet(1)));
    expect(metadataOf(vm, 'peermasq-program')).toBe(program);
    expect(metadataOf(vm, 'enable-guest-attributes')).toBe('TRUE');
    expect(metadataOf(vm, 'startup-script')).toContain('# peermasq: startup script');
    expect(originalStartupScript(metadataOf(vm, 'startup-script'))).toBe(theirs);
  });

  test('makes no call when everything is as wanted, also for a newer generation of the same', async () => {
    const vm = addVm(state);
    await push(vm);
    const before = vm.metadata;
    const node = await nodeOf(vm);
    state.calls.length = 0;
    await cloud.channel.push({ ruleSet: ruleSet(2), routes: 1 }, [node], inSeconds(10));
    expect(state.calls).toEqual([]);
    expect(vm.metadata).toBe(before);
  });

  test('never puts an older rule set in the place of a newer one', async () => {
    const vm = addVm(state);
    await push(vm, ruleSet(5));
    expect(await push(vm, ruleSet(4, '10.7.0.0/16'))).toMatchObject({
      result: 'failed',
      error: { constructor: RetryableError, code: 'superseded' },
    });
    expect(metadataOf(vm, 'peermasq-ruleset')).toBe(printRuleSet(ruleSet(5)));
    expect(await push(vm, ruleSet(6, '10.7.0.0/16'))).toMatchObject({ result: 'pushed' });
  });

  test('replaces what is no rule set', async () => {
    const vm = addVm(state, { metadata: [{ key: 'peermasq-ruleset', value: 'rm -rf /' }] });
    await push(vm);
    expect(metadataOf(vm, 'peermasq-ruleset')).toBe(printRuleSet(ruleSet(1)));
  });

  test('packs a large rule set', async () => {
    const vm = addVm(state);
    const destinations = Array.from({ length: 2000 }, (_, index) => ({
      cidr: parseCidr(`10.${index >> 8}.${index & 255}.0/24`),
      name: `range-${index}`,
    }));
    const large = { ...ruleSet(1), destinations };
    expect(await push(vm, large)).toMatchObject({ result: 'pushed' });
    const value = metadataOf(vm, 'peermasq-ruleset') ?? '';
    expect(value).toMatch(/^H4sI/);
    expect(ruleSetId(parseRuleSet(value))).toBe(ruleSetId(large));
  });

  test('says when the metadata has no room, and writes nothing', async () => {
    const vm = addVm(state, {
      metadata: [{ key: 'startup-script', value: `#${'x'.repeat(256 * 1024 - 1)}` }],
    });
    expect(await push(vm)).toMatchObject({ result: 'failed', error: { code: 'metadata-too-large' } });
    expect(vm.metadata).toHaveLength(1);
  });

  test('leaves guest attributes off where somebody turned them off', async () => {
    const vm = addVm(state, { metadata: [{ key: 'enable-guest-attributes', value: 'FALSE' }] });
    await push(vm);
    expect(metadataOf(vm, 'enable-guest-attributes')).toBe('FALSE');
  });

  test('reports an instance that is not ready yet, and one that is gone', async () => {
    const [early, late] = [addVm(state, { isReady: false }), addVm(state)];
    const nodes = [await nodeOf(early), await nodeOf(late)];
    state.vms = [early];
    const results = await cloud.channel.push({ ruleSet: ruleSet(1), routes: 1 }, nodes, inSeconds(1));
    expect(results).toMatchObject([
      { result: 'not-ready', retryAfterSeconds: 5 },
      { result: 'failed', error: { code: 'not-found' } },
    ]);
  });

  test('does not wait for the operation; of a node that stays silent it tells that it failed', async () => {
    state.operationError = { code: 'INVALID_USAGE', message: 'The metadata is not valid.' };
    const pushed = await push(addVm(state));
    expect(pushed.result).toBe('pushed');
    expect(state.calls.filter((call) => call.startsWith('compute.zoneOperations'))).toEqual([]);
    const proofs = await cloud.channel.collectProofs(
      pushed.result === 'pushed' ? [pushed] : [],
      inSeconds(1),
    );
    expect(proofs).toMatchObject([
      { result: 'failed', error: { constructor: PermanentError, code: 'operation-failed' } },
    ]);
  });

  test('and 49 other writers at the same time lose nothing, and the newest rule set stays', async () => {
    const vm = addVm(state);
    const node = await nodeOf(vm);
    const url = `${lab.env.PEERMASQ_COMPUTE_ENDPOINT}/compute/v1/projects/${vm.project}/zones/${vm.zone}/instances/${vm.id}`;
    const headers = { authorization: `Bearer ${state.token}`, 'content-type': 'application/json' };

    /** Somebody else's read-modify-write, without our client's turns. */
    async function writeKey(key: string): Promise<void> {
      for (;;) {
        const { metadata } = (await (await fetch(url, { headers })).json()) as {
          metadata: { items: object[] };
        };
        const body = JSON.stringify({ ...metadata, items: [...metadata.items, { key, value: key }] });
        const answer = await fetch(`${url}/setMetadata`, { method: 'POST', headers, body });
        await answer.text();
        if (answer.ok) return;
        expect(answer.status).toBe(412);
      }
    }

    const keys = Array.from({ length: 45 }, (_, index) => `key-${index}`);
    const ruleSets = [1, 2, 3, 4, 5].map((generation) => ruleSet(generation, `10.${generation}.0.0/16`));
    const pushes = ruleSets.map((given) =>
      cloud.channel.push({ ruleSet: given, routes: 1 }, [node], inSeconds(20)),
    );
    const [results] = await Promise.all([Promise.all(pushes), ...keys.map(writeKey)]);

    for (const result of results.flat()) {
      if (result.result !== 'pushed') expect(result).toMatchObject({ error: { code: 'superseded' } });
    }
    expect(results.at(-1)).toMatchObject([{ result: 'pushed' }]);
    expect(metadataOf(vm, 'peermasq-ruleset')).toBe(printRuleSet(ruleSet(5, '10.5.0.0/16')));
    expect(vm.metadata.map(({ key }) => key).toSorted()).toEqual(
      [
        ...keys,
        'enable-guest-attributes',
        'peermasq-program',
        'peermasq-routes',
        'peermasq-ruleset',
        'startup-script',
      ].toSorted(),
    );
  });

  describe('reads proofs', () => {
    const pushed = async (vm: LabVm): Promise<PushedNode<GcpNode>> => {
      const result = await push(vm);
      if (result.result !== 'pushed') throw new Error(result.result);
      return result;
    };

    test('as soon as the node has written its report', async () => {
      const vm = addVm(state);
      const waiting = cloud.channel.collectProofs([await pushed(vm)], inSeconds(10));
      vm.guestAttributes['peermasq/status'] = report(ruleSetId(ruleSet(1)));
      expect(await waiting).toMatchObject([{ result: 'reported', report: { proven: true } }]);
    });

    test('but none from before the node started again', async () => {
      const vm = addVm(state);
      await pushed(vm);
      vm.guestAttributes['peermasq/status'] = report(ruleSetId(ruleSet(1)));
      vm.status = 'STAGING';
      expect(await cloud.channel.collectProofs([await pushed(vm)], inSeconds(0.5))).toMatchObject([
        { result: 'no-report', reason: expect.stringContaining('its last start') as unknown },
      ]);
    });

    test('and tells what silent nodes last said', async () => {
      const vms = [addVm(state), addVm(state), addVm(state)] as const;
      vms[1].guestAttributes['peermasq/status'] = report('0'.repeat(64));
      vms[2].guestAttributes['peermasq/status'] = 'garbage';
      const proofs = await cloud.channel.collectProofs(await Promise.all(vms.map(pushed)), inSeconds(1));
      expect(proofs.map((proof) => proof.result === 'no-report' && proof.reason)).toEqual([
        'no report yet',
        expect.stringContaining('its last report is about 0000'),
        expect.stringContaining('not a peermasq report'),
      ]);
    });

    describe('a node is known to need a reboot', () => {
      const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000);
      const at = (date: Date) => date.toISOString();
      const look = async (startedAgo: number, assignedAgo: number, lastReport?: Partial<Report>) => {
        const [started, assigned] = [minutesAgo(startedAgo), minutesAgo(assignedAgo)];
        const given = ruleSet(assigned.getTime());
        const vm = addVm(state, {
          lastStartTimestamp: at(started),
          metadata: [
            { key: 'peermasq-ruleset', value: printRuleSet(given) },
            { key: 'enable-guest-attributes', value: 'TRUE' },
          ],
        });
        if (lastReport) {
          const booted = Math.floor(started.getTime() / 1_000);
          vm.guestAttributes['peermasq/status'] = JSON.stringify(
            makeReport(ruleSet(1, '10.9.0.0/16'), { booted, ...lastReport }),
          );
        }
        const node = await nodeOf(vm);
        const pushed: PushedNode<GcpNode> = { result: 'pushed', node, ruleSet: given, id: ruleSetId(given) };
        const [proof] = await cloud.channel.collectProofs([pushed], inSeconds(0.2));
        return proof;
      };

      test.each<[string, number, number, Partial<Report> | undefined, string]>([
        ['that ran before it was handed its rules', 11, 1, undefined, 'advised'],
        ['but is still becoming a node', 6, 1, undefined, 'unsafe'],
        [
          'whose last report is from before it started',
          11,
          1,
          { booted: 1_700_000_000, proven: false },
          'advised',
        ],
        ['whose last report from before it started was a proof', 11, 1, { booted: 1_700_000_000 }, 'unsafe'],
      ])('%s', async (_, started, assigned, lastReport, restart) => {
        expect(await look(started, assigned, lastReport)).toMatchObject({
          result: 'no-watcher',
          restart,
          reason: expect.stringContaining('its next boot') as unknown,
        });
      });

      test.each([
        [true, 'unsafe'],
        [false, 'advised'],
      ])('whose watch stalled; it has proven an older rule set: %s', async (proven, restart) => {
        expect(await look(20, 6, { proven })).toMatchObject({ result: 'no-watcher', restart });
      });

      test.each<[string, number, number, Partial<Report> | undefined]>([
        ['that has just started', 1, 0.8, undefined],
        ['whose own startup script takes some minutes', 4, 3.9, undefined],
        ['that was handed its rules just now', 10, 0.1, undefined],
        ['that booted with its rules, and says nothing', 5, 6, undefined],
        [
          'that booted with its rules, and cannot apply them',
          15,
          20,
          { result: 'failed', proven: false, id: null },
        ],
        ['whose watch has not followed yet', 20, 1, {}],
      ])('but not one %s', async (_, started, assigned, lastReport) => {
        expect(await look(started, assigned, lastReport)).toMatchObject({ result: 'no-report' });
      });

      test('but not one whose label says that it has proven just this, and whose report is gone', async () => {
        const given = ruleSet(minutesAgo(10).getTime());
        const proof = `proven-${ruleSetId(given).slice(0, 12)}-${Math.floor(minutesAgo(5).getTime() / 1_000)}`;
        const vm = addVm(state, {
          lastStartTimestamp: at(minutesAgo(20)),
          metadata: assigned(printRuleSet(given)),
          labels: { 'peermasq-status': proof },
        });
        const pushed: PushedNode<GcpNode> = {
          result: 'pushed',
          node: await nodeOf(vm),
          ruleSet: given,
          id: ruleSetId(given),
        };
        expect(await cloud.channel.collectProofs([pushed], inSeconds(0.2))).toMatchObject([
          { result: 'no-report' },
        ]);
      });
    });
  });

  test('a report of what was handed over after the start counts, whatever the node says of its boot', async () => {
    const started = new Date(Date.now() - 600_000);
    const given = ruleSet(started.getTime() + 1_000);
    const vm = addVm(state, {
      lastStartTimestamp: started.toISOString(),
      metadata: assigned(printRuleSet(given)),
    });
    vm.guestAttributes['peermasq/status'] = JSON.stringify(makeReport(given, { booted: 1_700_000_000 }));
    const pushed: PushedNode<GcpNode> = {
      result: 'pushed',
      node: await nodeOf(vm),
      ruleSet: given,
      id: ruleSetId(given),
    };
    expect(await cloud.channel.collectProofs([pushed], inSeconds(1))).toMatchObject([{ result: 'reported' }]);
    expect((await nodeOf(vm)).recorded?.isProven).toBe(true);
  });

  test('a restart that is refused leaves the node as it was', async () => {
    const hourAgo = new Date(Date.now() - 3_600_000);
    const given = ruleSet(hourAgo.getTime());
    const vm = addVm(state, {
      lastStartTimestamp: new Date(hourAgo.getTime() - 60_000).toISOString(),
      metadata: assigned(printRuleSet(given)),
    });
    state.injectedErrors.push({ method: 'compute.instances.reset', kind: 'permission', times: 1 });
    await expect(cloud.channel.restart?.(await nodeOf(vm), inSeconds(10))).rejects.toMatchObject({
      code: 'permission-denied',
      advice: expect.stringContaining('role restart') as unknown,
    });
    expect(vm.labels['peermasq-status']).toMatch(/^needs-reboot-/);
    const pushed: PushedNode<GcpNode> = {
      result: 'pushed',
      node: await nodeOf(vm),
      ruleSet: given,
      id: ruleSetId(given),
    };
    expect(await cloud.channel.collectProofs([pushed], inSeconds(0.2))).toMatchObject([
      { restart: 'advised' },
    ]);
  });

  test('a node that was restarted in vain is not restarted once more', async () => {
    const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000);
    const given = ruleSet(hoursAgo(2).getTime());
    const vm = addVm(state, {
      lastStartTimestamp: hoursAgo(3).toISOString(),
      metadata: assigned(printRuleSet(given)),
      labels: { 'peermasq-status': `restarted-${Math.floor(hoursAgo(1).getTime() / 1_000)}` },
    });
    const node = await nodeOf(vm);
    const pushed: PushedNode<GcpNode> = { result: 'pushed', node, ruleSet: given, id: ruleSetId(given) };
    expect(await cloud.channel.collectProofs([pushed], inSeconds(0.2))).toMatchObject([
      { restart: 'already-tried' },
    ]);
    await cloud.channel.writeRecords([{ node, state: 'needs-reboot' }], inSeconds(10));
    expect(vm.labels['peermasq-status']).toMatch(/^restarted-/);
  });

  test.each([false, true])(
    'a restart is waited for also where Compute Engine keeps the time of the start: %s',
    async (keepsStart) => {
      state.keepsStartOnReset = keepsStart;
      const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000);
      const given = ruleSet(hoursAgo(1).getTime());
      const vm = addVm(state, {
        lastStartTimestamp: hoursAgo(2).toISOString(),
        metadata: [
          { key: 'peermasq-ruleset', value: printRuleSet(given) },
          { key: 'enable-guest-attributes', value: 'TRUE' },
        ],
      });
      const look = async () => {
        const node = await nodeOf(vm);
        const pushed: PushedNode<GcpNode> = { result: 'pushed', node, ruleSet: given, id: ruleSetId(given) };
        return (await cloud.channel.collectProofs([pushed], inSeconds(0.3)))[0]?.result;
      };
      expect(await look()).toBe('no-watcher');
      await cloud.channel.restart?.(await nodeOf(vm), inSeconds(10));
      expect(await look()).toBe('no-report');
      vm.guestAttributes['peermasq/status'] = JSON.stringify(
        makeReport(given, { booted: Math.floor(hoursAgo(2).getTime() / 1_000) }),
      );
      expect(await look()).toBe('no-report');
      vm.guestAttributes['peermasq/status'] = JSON.stringify(
        makeReport(given, { booted: Math.floor(Date.now() / 1_000) }),
      );
      expect(await look()).toBe('reported');
    },
  );

  test.each([
    ['is waited for again', 900, 10, undefined],
    ['is not waited for past the deadline', 60_000, 5, { code: 'operation-unfinished' }],
  ])('a restart that still runs when the wait for it ends %s', async (_, operationMs, seconds, fault) => {
    Object.assign(state, { operationMs, maxOperationWaitMs: 0 });
    const vm = addVm(state, { lastStartTimestamp: '2026-11-21T12:00:00Z' });
    const restarted = cloud.channel.restart?.(await nodeOf(vm), inSeconds(seconds));
    if (fault) await expect(restarted).rejects.toMatchObject(fault);
    else await expect(restarted).resolves.toBeUndefined();
    expect(callsOf(state, 'compute.zoneOperations.wait')).toBeLessThanOrEqual(6);
  });

  test('restarts a running instance, and no other', async () => {
    const [running, stopped] = [addVm(state, { lastStartTimestamp: '2026-11-21T12:00:00Z' }), addVm(state)];
    const nodes = [await nodeOf(running), await nodeOf(stopped)] as const;
    await cloud.channel.restart?.(nodes[0], inSeconds(10));
    expect(Date.parse(running.lastStartTimestamp ?? '')).toBeGreaterThan(Date.now() - 10_000);
    stopped.status = 'TERMINATED';
    await expect(cloud.channel.restart?.(nodes[1], inSeconds(10))).rejects.toThrow(
      'is TERMINATED, so it is not restarted',
    );
  });
});
