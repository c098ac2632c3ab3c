import { beforeEach, describe, expect, test } from '@jest/globals';
import { nodeKey } from '../../../shared/core/model/node';
import type { GcpNode } from '../../../shared/gcp/discover/nodes';
import { addVm, networkUrl, subnetworkUrl, type LabLearnedRoute, type LabVm } from '../../lab/gcp/state';
import { CloudLab, inSeconds } from '../cloud-lab';

const lab = new CloudLab();

const host = 'network-host';
const nodesSubnetwork = subnetworkUrl(host, 'europe-west1', 'nodes');

const addVmInVpcB = (over: Partial<LabVm> = {}) =>
  addVm(lab.state, {
    networkInterfaces: [{ network: networkUrl(host, 'vpc-b'), subnetwork: nodesSubnetwork }],
    ...over,
  });

beforeEach(() => {
  lab.state.projects[host] = { number: '1', metadata: [] };
  lab.state.networks.push({
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
  lab.state.subnetworks.push(
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

const getNetworkContexts = (nodes: readonly GcpNode[]) =>
  lab.cloud.routes.getNetworkContexts(nodes, ['peerings', 'peering-transit', 'vpn'], inSeconds(10));

async function networkContextOf(vm: LabVm) {
  const node = await lab.nodeOf(vm);
  const context = (await getNetworkContexts([node])).get(nodeKey(node.ref));
  if (!context) throw new Error('no network context');
  return context;
}

const texts = (cidrs: readonly { readonly text: string }[]) => cidrs.map(({ text }) => text);

describe('discovery of routes', () => {
  test("returns the routes that active peerings import in the node's region", async () => {
    const { routes, network, discoveredKinds } = await networkContextOf(addVmInVpcB());
    expect(network).toBe('vpc-b');
    expect(discoveredKinds).toEqual(['peerings', 'peering-transit', 'vpn']);
    expect(routes).toEqual([
      {
        kind: 'peerings',
        via: 'to-vpc-a',
        destination: '10.193.0.0/16',
        state: 'active',
        peerRoutesPods: true,
      },
      { kind: 'peering-transit', via: 'to-vpc-a', destination: '10.194.0.0/16', state: 'active' },
    ]);
  });

  test('reads all pages', async () => {
    lab.state.pageSize = 1;
    const { routes, networkRanges } = await networkContextOf(addVmInVpcB());
    expect(routes).toHaveLength(2);
    expect(networkRanges).toHaveLength(4);
  });

  test("returns all ranges of the node's network, and no ranges of other networks", async () => {
    expect(texts((await networkContextOf(addVmInVpcB())).networkRanges)).toEqual([
      '10.209.0.0/16',
      'fd20::/64',
      '10.132.0.0/14',
      '10.210.0.0/16',
    ]);
  });

  test('recognises a VPC-native node by its alias range', async () => {
    const vm = addVmInVpcB();
    const [nic] = vm.networkInterfaces;
    Object.assign(nic ?? {}, {
      aliasIpRanges: [{ ipCidrRange: '10.132.4.0/24', subnetworkRangeName: 'pods' }],
    });
    const { podRanges, routedPodRanges } = await networkContextOf(vm);
    expect({ podRanges: texts(podRanges), routedPodRanges: texts(routedPodRanges) }).toEqual({
      podRanges: ['10.132.0.0/14'],
      routedPodRanges: ['10.132.0.0/14'],
    });
    expect(await networkContextOf(addVmInVpcB())).toMatchObject({
      podRanges: [],
      routedPodRanges: [],
    });
  });

  test('makes each call once, no matter how many nodes share a network', async () => {
    const nodes = await Promise.all(Array.from({ length: 30 }, () => lab.nodeOf(addVmInVpcB())));
    lab.state.calls.length = 0;
    const found = await lab.cloud.routes.getNetworkContexts(nodes, ['peerings'], inSeconds(10));
    expect(found.size).toBe(30);
    expect(lab.state.calls.toSorted()).toEqual([
      'compute.networks.get',
      'compute.networks.listPeeringRoutes',
      'compute.subnetworks.aggregatedList',
    ]);
  });

  test('makes no call for route kinds that the config does not request', async () => {
    const node = await lab.nodeOf(addVmInVpcB());
    const found = await lab.cloud.routes.getNetworkContexts([node], ['transit-gateways'], inSeconds(10));
    expect(found.get(nodeKey(node.ref))).toMatchObject({ routes: [], discoveredKinds: [] });
    const calls = lab.state.calls.filter((call) => /listPeeringRoutes|routers|routes/.test(call));
    expect(calls).toEqual([]);
  });

  const inNetwork = (network: string, subnetwork: string) => ({
    networkInterfaces: [{ network, subnetwork }],
  });
  const vpcB = networkUrl(host, 'vpc-b');
  test.each<[string, Partial<LabVm>]>([
    ['its network does not exist', inNetwork(networkUrl(host, 'gone'), nodesSubnetwork)],
    [
      'the project of its network does not exist',
      inNetwork(networkUrl('elsewhere', 'vpc-b'), nodesSubnetwork),
    ],
    ['it has no network interface', { networkInterfaces: [] }],
    ['its subnetwork is not listed', inNetwork(vpcB, `${nodesSubnetwork}-2`)],
    [
      'a pod range is unreadable',
      {
        networkInterfaces: [
          {
            network: vpcB,
            subnetwork: nodesSubnetwork,
            aliasIpRanges: [{ ipCidrRange: '10.132.4.0/33', subnetworkRangeName: 'gone' }],
          },
        ],
      },
    ],
  ])('omits only the affected node when %s', async (_, vm) => {
    const bad = await lab.nodeOf(addVmInVpcB(vm));
    const good = await lab.nodeOf(addVmInVpcB());
    expect([...(await getNetworkContexts([bad, good])).keys()]).toEqual([nodeKey(good.ref)]);
  });

  test('omits a node when a range of its network cannot be parsed', async () => {
    const node = await lab.nodeOf(addVmInVpcB());
    Object.assign(lab.state.subnetworks[1] ?? {}, { ipCidrRange: '10.210.0.1/16' });
    expect(await getNetworkContexts([node])).toEqual(new Map());
  });

  test('names a missing permission', async () => {
    const node = await lab.nodeOf(addVmInVpcB());
    lab.state.injectedErrors.push({ method: 'compute.networks.get', kind: 'permission', times: 1 });
    await expect(getNetworkContexts([node])).rejects.toMatchObject({
      code: 'permission-denied',
      advice: expect.stringContaining('Grant compute.networks.get on projects/network-host/') as unknown,
    });
  });
});

describe('discovery of routes over VPN and Interconnect', () => {
  const region = 'https://www.googleapis.com/compute/v1/projects/network-host/regions/europe-west1';
  const tunnel = `${region}/vpnTunnels/to-aws`;
  const attachment = `${region}/interconnectAttachments/to-office`;
  const router = (region: string, ...bestRoutes: LabLearnedRoute[]) => ({
    project: host,
    region,
    name: `router-${region}`,
    network: 'vpc-b',
    bestRoutes,
    bestRoutesForRouter: [],
  });
  const vpnRoutesOf = async (vm = addVmInVpcB()) =>
    (await networkContextOf(vm)).routes
      .filter(({ kind }) => kind === 'vpn')
      .map(({ via, destination, state }) => [destination, via, state]);

  test("returns static routes of the network that lead into a tunnel and apply to the node's tags", async () => {
    const route = { project: host, network: 'vpc-b', nextHopVpnTunnel: tunnel };
    lab.state.routes.push(
      { ...route, name: 'all', destRange: '172.20.0.0/16' },
      { ...route, name: 'db', destRange: '172.21.0.0/16', tags: ['db'] },
      { ...route, name: 'web', destRange: '172.22.0.0/16', tags: ['web', 'api'] },
      { ...route, name: 'foreign', destRange: '172.23.0.0/16', network: 'vpc-b2' },
      { project: host, network: 'vpc-b', name: 'default', destRange: '0.0.0.0/0', nextHopGateway: 'x' },
    );
    expect(await vpnRoutesOf(addVmInVpcB({ tags: ['api'] }))).toEqual([
      ['172.20.0.0/16', 'to-aws', 'active'],
      ['172.22.0.0/16', 'to-aws', 'active'],
    ]);
  });

  test("returns the routes that routers in the node's region learned, with their state", async () => {
    lab.state.routers.push(
      router('us-east1', { destRange: '172.30.0.0/16', nextHopVpnTunnel: tunnel }),
      router(
        'europe-west1',
        { destRange: '172.31.0.0/16', nextHopVpnTunnel: tunnel },
        { destRange: '192.168.0.0/16', nextHopInterconnectAttachment: attachment },
        { destRange: '172.24.0.0/16', nextHopVpnTunnel: tunnel, routeStatus: 'DROPPED' },
        { destRange: '172.25.0.0/16', nextHopIp: '169.254.1.2', routeStatus: 'PENDING' },
      ),
    );
    expect(await vpnRoutesOf()).toEqual([
      ['172.31.0.0/16', 'to-aws', 'active'],
      ['192.168.0.0/16', 'to-office', 'active'],
      ['172.24.0.0/16', 'to-aws', 'blackhole'],
      ['172.25.0.0/16', '169.254.1.2', 'provisioning'],
    ]);
  });

  test.each([
    ["returns routes in other regions if the network's routing mode is GLOBAL", 'GLOBAL', 1],
    ["omits routes in other regions if the network's routing mode is REGIONAL", 'REGIONAL', 0],
  ] as const)('%s', async (_, routingMode, count) => {
    const [network] = lab.state.networks;
    if (network) network.routingMode = routingMode;
    lab.state.routers.push(router('us-east1', { destRange: '172.30.0.0/16', nextHopVpnTunnel: tunnel }));
    const expected = [['172.30.0.0/16', 'to-aws', 'active']];
    expect(await vpnRoutesOf()).toEqual(expected.slice(0, count));
  });
});
