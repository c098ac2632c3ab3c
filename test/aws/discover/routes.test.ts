import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { nodeKey, type RouteSourceKind, routeSourceKinds } from '../../../shared/core/model/node';
import { labAccount, labRegion } from '../../lab/aws/cloud';
import type { LabRoute } from '../../lab/aws/state';
import { soon, startCloud, subnetId, vpcId } from '../cloud';

let lab: Awaited<ReturnType<typeof startCloud>>;

beforeEach(async () => {
  lab = await startCloud();
});
afterEach(() => lab.close());

const pcx = 'pcx-11112222aaaabbbbc';
const tgw = 'tgw-0123456789abcdef0';
const vgw = 'vgw-0123456789abcdef0';

async function getNetworkContexts(
  ids: readonly string[],
  kinds: readonly RouteSourceKind[] = routeSourceKinds,
) {
  const refs = ids.map((id) => ({ cloud: 'aws', account: labAccount, region: labRegion, id }) as const);
  const nodes = await lab.cloud.nodes.get(refs, soon());
  const found = await lab.cloud.routes.getNetworkContexts(nodes, kinds, soon());
  return refs.map((ref) => found.get(nodeKey(ref)));
}

/** Returns the routes of a node in a VPC whose main route table has the given routes. */
async function routesOf(routes: readonly LabRoute[], kinds?: readonly RouteSourceKind[]) {
  lab.aws.addNetwork({ vpcId, cidrs: ['172.20.0.0/16'], subnetIds: [subnetId], routes });
  const [context] = await getNetworkContexts([lab.aws.addNode({ subnetId })], kinds);
  return context?.routes;
}

describe('a discovered route', () => {
  beforeEach(() => {
    lab.aws.state.peerings.push({ vpcPeeringConnectionId: pcx, status: 'active' });
  });

  test.each<[string, LabRoute, object[]]>([
    [
      'goes to a peering',
      { destinationCidrBlock: '10.0.0.0/16', vpcPeeringConnectionId: pcx },
      [{ kind: 'peerings', via: pcx, destination: '10.0.0.0/16', state: 'active' }],
    ],
    [
      'goes to a peering, over IPv6',
      { destinationIpv6CidrBlock: '2001:db8::/56', vpcPeeringConnectionId: pcx },
      [{ kind: 'peerings', via: pcx, destination: '2001:db8::/56', state: 'active' }],
    ],
    [
      'goes to a transit gateway and is the default route',
      { destinationCidrBlock: '0.0.0.0/0', transitGatewayId: tgw },
      [{ kind: 'transit-gateways', via: tgw, destination: '0.0.0.0/0', state: 'active' }],
    ],
    [
      'goes to a virtual private gateway and was propagated',
      { destinationCidrBlock: '10.193.0.0/16', gatewayId: vgw, origin: 'EnableVgwRoutePropagation' },
      [{ kind: 'vpn', via: vgw, destination: '10.193.0.0/16', state: 'active' }],
    ],
    [
      'is a blackhole',
      { destinationCidrBlock: '10.9.0.0/16', transitGatewayId: tgw, state: 'blackhole' },
      [{ kind: 'transit-gateways', via: tgw, destination: '10.9.0.0/16', state: 'blackhole' }],
    ],
    [
      'keeps an invalid destination unchanged',
      { destinationCidrBlock: '10.0.0.0/16; reboot <&>', transitGatewayId: tgw },
      [{ kind: 'transit-gateways', via: tgw, destination: '10.0.0.0/16; reboot <&>', state: 'active' }],
    ],
    ['is omitted when it has no destination', { transitGatewayId: tgw }, []],
    [
      'is omitted when it goes to an internet gateway',
      { destinationCidrBlock: '0.0.0.0/0', gatewayId: 'igw-0a' },
      [],
    ],
    [
      'is omitted when it goes to a NAT gateway',
      { destinationCidrBlock: '0.0.0.0/0', natGatewayId: 'nat-0a' },
      [],
    ],
    [
      'is omitted when it goes to a gateway endpoint',
      { destinationPrefixListId: 'pl-63a5400a', gatewayId: 'vpce-0a' },
      [],
    ],
    [
      'is omitted when it goes to an instance',
      { destinationCidrBlock: '100.96.1.0/24', networkInterfaceId: 'eni-0a' },
      [],
    ],
  ])('%s', async (_, route, routes) => {
    expect(await routesOf([route])).toEqual(routes);
  });

  test('to a prefix list becomes one route for each entry of the list', async () => {
    lab.aws.state.prefixLists.set('pl-0123456789abcdef0', ['10.1.0.0/16', '10.2.0.0/16', '2001:db8::/56']);
    lab.aws.state.pageSize = 2;
    const routes = await routesOf([
      { destinationPrefixListId: 'pl-0123456789abcdef0', transitGatewayId: tgw },
    ]);
    expect(routes?.map(({ destination }) => destination)).toEqual([
      '10.1.0.0/16',
      '10.2.0.0/16',
      '2001:db8::/56',
    ]);
  });

  test('to a prefix list that is not visible has the ID of the list as its destination', async () => {
    const routes = await routesOf([
      { destinationPrefixListId: 'pl-0aaaaaaaaaaaaaaaa', transitGatewayId: tgw },
    ]);
    expect(routes?.map(({ destination }) => destination)).toEqual(['pl-0aaaaaaaaaaaaaaaa']);
  });

  test.each([
    ['pending-acceptance', 'blackhole'],
    ['provisioning', 'provisioning'],
    ['deleted', 'blackhole'],
  ] as const)('through a peering that is %s is %s', async (status, expected) => {
    lab.aws.state.peerings.splice(0, 1, { vpcPeeringConnectionId: pcx, status });
    const routes = await routesOf([{ destinationCidrBlock: '10.0.0.0/16', vpcPeeringConnectionId: pcx }]);
    expect(routes?.map(({ state }) => state)).toEqual([expected]);
  });

  test.each([
    ['active', 'active'],
    ['blackhole', 'blackhole'],
  ] as const)(
    'with the state %s through an invisible peering of another account is %s',
    async (state, expected) => {
      lab.aws.state.peerings.length = 0;
      const routes = await routesOf([
        { destinationCidrBlock: '10.0.0.0/16', vpcPeeringConnectionId: pcx, state },
      ]);
      expect(routes?.map((route) => route.state)).toEqual([expected]);
    },
  );

  test('is neither read nor returned when its kind was not requested', async () => {
    const routes: LabRoute[] = [
      { destinationCidrBlock: '10.0.0.0/16', vpcPeeringConnectionId: pcx },
      { destinationCidrBlock: '10.193.0.0/16', gatewayId: vgw },
    ];
    expect(await routesOf(routes, ['vpn'])).toMatchObject([{ kind: 'vpn' }]);
    expect(lab.aws.count('DescribeVpcPeeringConnections')).toBe(0);
    expect((await getNetworkContexts(['i-00000000000000001'], []))[0]).toMatchObject({
      routes: [],
      discoveredKinds: [],
    });
    expect(lab.aws.count('DescribeRouteTables')).toBe(1);
  });
});

describe('the route table of a node', () => {
  const subnets = [subnetId, 'subnet-0fedcba9876543210'];
  beforeEach(() => {
    const routes = [{ destinationCidrBlock: '10.1.0.0/16', gatewayId: vgw }];
    lab.aws.addNetwork({ vpcId, cidrs: ['172.20.0.0/16'], subnetIds: subnets, routes });
    lab.aws.addNetwork({ vpcId: 'vpc-0ther', cidrs: ['172.21.0.0/16'], subnetIds: ['subnet-0ther'] });
    lab.aws.state.routeTables.push({
      routeTableId: 'rtb-explicit',
      vpcId,
      isMain: false,
      subnetIds: [subnetId],
      routes: [{ destinationCidrBlock: '10.2.0.0/16', gatewayId: vgw }],
    });
  });
  const destinations = async (...ids: string[]) =>
    (await getNetworkContexts(ids)).map((found) =>
      found?.routes.map(({ destination }) => destination).join(),
    );

  test('is the route table of its subnet, or else the main route table of its VPC', async () => {
    const ids = [...subnets, 'subnet-0ther'].map((id) => lab.aws.addNode({ subnetId: id }));
    expect(await destinations(...ids)).toEqual(['10.2.0.0/16', '10.1.0.0/16', '']);
  });

  test('is read once for 300 nodes', async () => {
    const ids = Array.from({ length: 300 }, () => lab.aws.addNode({ subnetId }));
    expect(new Set(await destinations(...ids))).toEqual(new Set(['10.2.0.0/16']));
    expect(['DescribeVpcs', 'DescribeRouteTables'].map((action) => lab.aws.count(action))).toEqual([1, 1]);
  });

  test('is read from every page', async () => {
    lab.aws.state.pageSize = 1;
    expect(await destinations(lab.aws.addNode({ subnetId }))).toEqual(['10.2.0.0/16']);
  });

  test('leaves the routes unknown when it is not visible, as in a shared VPC', async () => {
    const shared = lab.aws.state.routeTables.filter((table) => table.vpcId === vpcId);
    for (const table of shared) table.isMain = false;
    const ids = subnets.map((id) => lab.aws.addNode({ subnetId: id }));
    expect(await getNetworkContexts(ids, ['vpn'])).toMatchObject([
      { routes: [{ destination: '10.2.0.0/16' }], discoveredKinds: ['vpn'] },
      { routes: [], discoveredKinds: [] },
    ]);
  });

  test('is undefined when the node is terminated or its VPC has been deleted', async () => {
    const ids = [
      lab.aws.addNode({ subnetId, state: 'terminated' }),
      lab.aws.addNode({ subnetId: 'subnet-0ther' }),
      lab.aws.addNode({ subnetId }),
    ];
    lab.aws.state.vpcs.delete('vpc-0ther');
    expect((await getNetworkContexts(ids)).map((found) => found?.network)).toEqual([
      undefined,
      undefined,
      vpcId,
    ]);
  });
});

describe('a node with network interfaces in several subnets', () => {
  const nodes = 'subnet-0aaaaaaaaaaaaaaa1';
  const podsA = 'subnet-0aaaaaaaaaaaaaaa2';
  const podsB = 'subnet-0aaaaaaaaaaaaaaa3';
  const to = (destinationCidrBlock: string, gatewayId = vgw): LabRoute => ({
    destinationCidrBlock,
    gatewayId,
  });
  const vpn = (destination: string, via = vgw) => ({ kind: 'vpn', via, destination, state: 'active' });

  beforeEach(() => {
    const cidrs = ['172.20.0.0/16', '100.64.0.0/16'];
    lab.aws.addNetwork({ vpcId, cidrs, subnetIds: [nodes, podsA, podsB], routes: [to('10.1.0.0/16')] });
    lab.aws.state.routeTables.push({
      routeTableId: 'rtb-pods',
      vpcId,
      isMain: false,
      subnetIds: [podsA, podsB],
      routes: [],
    });
  });

  /**
   * Returns the routes of a node that has a secondary interface in each of the given subnets. The given routes are in
   * the route table of these subnets.
   */
  const routesWith = async (subnetIds: readonly string[], routes: readonly LabRoute[]) => {
    lab.aws.state.routeTables.find(({ routeTableId }) => routeTableId === 'rtb-pods')?.routes.push(...routes);
    const instanceId = lab.aws.addNode({ subnetId: nodes });
    for (const [index, subnetId] of subnetIds.entries()) {
      const networkInterfaceId = `eni-pods${index}`;
      lab.aws.state.interfaces.set(networkInterfaceId, {
        networkInterfaceId,
        subnetId,
        addresses: [`100.64.0.1${index}`],
        ipv6Addresses: [],
        groupIds: [],
        attachment: { instanceId, deviceIndex: index + 1 },
      });
    }
    return (await getNetworkContexts([instanceId]))[0]?.routes;
  };

  test.each<{ title: string; subnetIds?: string[]; routes: LabRoute[]; expected: object[] }>([
    {
      title: 'only the routes of the primary interface until other interfaces are attached',
      subnetIds: [],
      routes: [to('10.193.0.0/16')],
      expected: [vpn('10.1.0.0/16')],
    },
    {
      title: 'a route that exists only in the subnets of its secondary interfaces',
      routes: [to('10.193.0.0/16')],
      expected: [vpn('10.1.0.0/16'), { ...vpn('10.193.0.0/16'), onlyInSubnets: [podsA, podsB] }],
    },
    {
      title: 'a single route when the same route exists in all its subnets',
      routes: [to('10.1.0.0/16')],
      expected: [vpn('10.1.0.0/16')],
    },
    {
      title: "the target from its primary interface's subnet",
      routes: [to('10.1.0.0/16', 'vgw-0other')],
      expected: [vpn('10.1.0.0/16')],
    },
    {
      title: 'no local routes from the route tables of its other subnets',
      routes: [to('172.20.0.0/16'), to('0.0.0.0/0', 'nat-0a')],
      expected: [vpn('10.1.0.0/16')],
    },
  ])('has $title', async ({ subnetIds = [podsA, podsB], routes, expected }) => {
    expect(await routesWith(subnetIds, routes)).toEqual(expected);
  });

  test('also has the peerings and prefix lists of its other subnets', async () => {
    lab.aws.state.peerings.push({ vpcPeeringConnectionId: pcx, status: 'provisioning' });
    lab.aws.state.prefixLists.set('pl-0123456789abcdef0', ['10.2.0.0/16', '10.1.0.0/16']);
    const routes = await routesWith(
      [podsA],
      [
        { destinationCidrBlock: '10.193.0.0/16', vpcPeeringConnectionId: pcx },
        { destinationPrefixListId: 'pl-0123456789abcdef0', transitGatewayId: tgw },
      ],
    );
    expect(routes).toMatchObject([
      { via: vgw, destination: '10.1.0.0/16' },
      { via: pcx, destination: '10.193.0.0/16', state: 'provisioning', onlyInSubnets: [podsA] },
      { via: tgw, destination: '10.2.0.0/16', state: 'active', onlyInSubnets: [podsA] },
    ]);
  });
});

test('a node in a VPC with an invalid range has no network context', async () => {
  lab.aws.addNetwork({ vpcId, cidrs: ['172.20.0.0/16', '<all>'], subnetIds: [subnetId] });
  expect(await getNetworkContexts([lab.aws.addNode({ subnetId })])).toEqual([undefined]);
});

test('the ranges of a VPC are all its associated CIDR blocks, IPv4 and IPv6', async () => {
  lab.aws.addNetwork({
    vpcId,
    cidrs: ['172.20.0.0/16', '100.64.0.0/16'],
    ipv6Cidrs: ['2001:db8:1::/56'],
    subnetIds: [subnetId],
  });
  lab.aws.state.vpcs.get(vpcId)?.formerCidrs.push('172.30.0.0/16');
  const [context] = await getNetworkContexts([lab.aws.addNode({ subnetId })]);
  expect(context).toMatchObject({
    podRanges: [],
    routedPodRanges: [],
    discoveredKinds: ['peerings', 'vpn', 'transit-gateways'],
  });
  expect(context?.networkRanges.map(({ text }) => text)).toEqual([
    '172.20.0.0/16',
    '100.64.0.0/16',
    '2001:db8:1::/56',
  ]);
});
