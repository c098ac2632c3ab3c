import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { makeClients } from '../../../shared/aws/client/clients';
import { makeReach, type ReachOptions } from '../../../shared/aws/reach/reach';
import { parseAddress } from '../../../shared/core/model/cidr';
import type { Check, CheckName } from '../../../shared/core/doctor/check';
import { labAccount, labRegion } from '../../lab/aws/cloud';
import type { LabAccount } from '../../lab/aws/account';
import type { LabPermission, LabRoute } from '../../lab/aws/state';
import { addConnection, type LabConnection, type Misconfiguration } from '../../lab/aws/connection';
import { soon, startCloud, subnetId, vpcId } from '../cloud';

const pcx = 'pcx-0123456789abcdef0';
const remoteVpc = 'vpc-0fedcba9876543210';
const remoteSubnet = 'subnet-0fedcba9876543210';
const [table, group, acl] = ['rtb-0123456789abcdef0', 'sg-0123456789abcdef0', 'acl-0123456789abcdef0'];
const [remoteTable, remoteGroup, remoteAcl] = [
  'rtb-0fedcba9876543210',
  'sg-0fedcba98765432101',
  'acl-0fedcba9876543210',
];
const nodeRange = '172.20.0.0/16';
const [nodeAddress, database] = ['172.20.0.9', '10.0.3.20'];
const [nodeAddress6, database6] = ['2001:db8:1::9', '2001:db8:2::20'];

let lab: Awaited<ReturnType<typeof startCloud>>;
let connection: LabConnection;

const newConnection = (account?: LabAccount) => ({
  peeringId: pcx,
  node: { vpcId, subnetId, range: nodeRange, ipv6Range: '2001:db8:1::/56' },
  peer: {
    ...{ vpcId: remoteVpc, subnetId: remoteSubnet, range: '10.0.0.0/16', ipv6Range: '2001:db8:2::/56' },
    ...{ address: database, ipv6Address: database6, port: 5432, ...(account && { account }) },
  },
});

beforeEach(async () => {
  lab = await startCloud();
});
afterEach(() => lab.close());

interface ConnectionOptions extends ReachOptions {
  readonly source?: string;
  readonly destination?: string;
}

let id: string;
const addNode = () => lab.aws.addNode({ subnetId, address: nodeAddress, ipv6Address: nodeAddress6 });

async function runChecks({
  source = nodeAddress,
  destination = database,
  ...options
}: ConnectionOptions = {}) {
  const ref = { cloud: 'aws', account: labAccount, region: labRegion, id } as const;
  const [node] = await lab.cloud.nodes.get([ref], soon());
  if (!node) throw new Error('the lab has no such node');
  const ends = { source: parseAddress(source), destination: parseAddress(destination) };
  return makeReach(lab.clients, options).checks({ node, ...ends, port: 5432 }, soon());
}

const states = (checks: readonly Check[]) =>
  Object.fromEntries(checks.map(({ name, state }) => [name, state]));
const checkOf = (checks: readonly Check[], name: CheckName) => checks.find((check) => check.name === name);
const firstBroken = (checks: readonly Check[]) => checks.find(({ state }) => state === 'broken');

const allOk = {
  peering: 'ok',
  'forward-route': 'ok',
  'return-route': 'ok',
  'node-firewall': 'ok',
  'peer-firewall': 'ok',
};

describe('a way over a peering', () => {
  beforeEach(() => {
    connection = addConnection(lab.aws, newConnection());
    id = addNode();
  });

  test('that is whole, with what was read', async () => {
    const ephemeral = 'on ports 1024-65535 (entry 100)';
    expect(await runChecks()).toEqual([
      {
        name: 'peering',
        state: 'ok',
        evidence: [
          `${pcx} is active, between ${vpcId} of account ${labAccount} in us-east-1 (172.20.0.0/16, 2001:db8:1::/56) and ${remoteVpc} of account ${labAccount} in us-east-1 (10.0.0.0/16, 2001:db8:2::/56).`,
        ],
      },
      {
        name: 'forward-route',
        state: 'ok',
        evidence: [`The route to 10.0.0.0/16 in ${table} goes over ${pcx}.`],
      },
      {
        name: 'return-route',
        state: 'ok',
        evidence: [`The route to 172.20.0.0/16 in ${remoteTable} goes over ${pcx}.`],
      },
      {
        name: 'node-firewall',
        state: 'ok',
        evidence: [
          `${group} lets it out to 10.0.3.20 on port 5432: it allows everything with 0.0.0.0/0.`,
          `${acl} lets it out to 10.0.3.20 on port 5432 (entry 100).`,
          `${acl} lets the answers in from 10.0.3.20 ${ephemeral}.`,
        ],
      },
      {
        name: 'peer-firewall',
        state: 'ok',
        evidence: [
          `${remoteGroup} lets it in from 172.20.0.9 on port 5432: it allows port 5432 with 172.20.0.0/16.`,
          `${remoteAcl} lets it in from 172.20.0.9 on port 5432 (entry 100).`,
          `${remoteAcl} lets the answers out to 172.20.0.9 ${ephemeral}.`,
        ],
      },
    ]);
  });

  test('every look-up is made once', async () => {
    await runChecks();
    const asked = lab.aws.calls.map(({ action, input }) => `${action} ${JSON.stringify(input)}`);
    expect(asked).toHaveLength(new Set(asked).size);
  });

  test('page by page', async () => {
    lab.aws.state.pageSize = 1;
    expect(states(await runChecks())).toEqual(allOk);
  });

  test('of IPv6', async () => {
    expect(states(await runChecks({ source: nodeAddress6, destination: database6 }))).toEqual(allOk);
    connection.peer.group.ingress = [];
    const broken = firstBroken(await runChecks({ source: nodeAddress6, destination: database6 }));
    expect(broken?.fix).toBe(
      `aws ec2 authorize-security-group-ingress --group-id ${remoteGroup} --ip-permissions 'IpProtocol=tcp,FromPort=5432,ToPort=5432,Ipv6Ranges=[{CidrIpv6=2001:db8:1::/56}]' --region us-east-1`,
    );
  });

  test.each<[Misconfiguration, CheckName, RegExp, string]>([
    [
      'peering-pending',
      'peering',
      /^pcx-0123456789abcdef0 is pending-acceptance, between vpc-0123456789abcdef0 .* and vpc-0fedcba9876543210 /,
      `aws ec2 accept-vpc-peering-connection --vpc-peering-connection-id ${pcx} --region us-east-1`,
    ],
    [
      'no-forward-route',
      'forward-route',
      /^rtb-0123456789abcdef0, the table of subnet-0123456789abcdef0, has no route to 10\.0\.3\.20\.$/,
      `aws ec2 create-route --route-table-id ${table} --destination-cidr-block 10.0.0.0/16 --vpc-peering-connection-id ${pcx} --region us-east-1`,
    ],
    [
      'no-return-route',
      'return-route',
      /^rtb-0fedcba9876543210, the table of subnet-0fedcba9876543210, has no route to 172\.20\.0\.9\.$/,
      `aws ec2 create-route --route-table-id ${remoteTable} --destination-cidr-block 172.20.0.0/16 --vpc-peering-connection-id ${pcx} --region us-east-1`,
    ],
    [
      'security-group-blocks-egress',
      'node-firewall',
      /^No rule of sg-0123456789abcdef0 lets it out to 10\.0\.3\.20 on port 5432\.$/,
      `aws ec2 authorize-security-group-egress --group-id ${group} --ip-permissions 'IpProtocol=tcp,FromPort=5432,ToPort=5432,IpRanges=[{CidrIp=10.0.3.20/32}]' --region us-east-1`,
    ],
    [
      'network-acl-blocks-egress',
      'node-firewall',
      /^acl-0123456789abcdef0 refuses it out to 10\.0\.3\.20 on port 5432 \(entry 50\)\.$/,
      `aws ec2 create-network-acl-entry --network-acl-id ${acl} --egress --rule-number 49 --protocol 6 --port-range From=5432,To=5432 --cidr-block 10.0.3.20/32 --rule-action allow --region us-east-1`,
    ],
    [
      'security-group-blocks-ingress',
      'peer-firewall',
      /^No rule of sg-0fedcba98765432101 lets it in from 172\.20\.0\.9 on port 5432\.$/,
      `aws ec2 authorize-security-group-ingress --group-id ${remoteGroup} --ip-permissions 'IpProtocol=tcp,FromPort=5432,ToPort=5432,IpRanges=[{CidrIp=172.20.0.0/16}]' --region us-east-1`,
    ],
    [
      'network-acl-blocks-ingress',
      'peer-firewall',
      /^acl-0fedcba9876543210 refuses it in from 172\.20\.0\.9 on port 5432 \(entry 50\)\.$/,
      `aws ec2 create-network-acl-entry --network-acl-id ${remoteAcl} --ingress --rule-number 49 --protocol 6 --port-range From=5432,To=5432 --cidr-block 172.20.0.0/16 --rule-action allow --region us-east-1`,
    ],
  ])('broken: %s', async (place, name, evidence, fix) => {
    connection.misconfigure(place);
    const broken = firstBroken(await runChecks());
    expect(broken).toMatchObject({ name, fix });
    expect(broken?.evidence.some((line) => evidence.test(line))).toBe(true);
  });

  describe('the peering', () => {
    test.each([
      ['provisioning', `describe-vpc-peering-connections --vpc-peering-connection-ids ${pcx}`],
      ['rejected', `create-vpc-peering-connection --vpc-id ${vpcId} --peer-vpc-id ${remoteVpc}`],
      ['expired', `create-vpc-peering-connection --vpc-id ${vpcId} --peer-vpc-id ${remoteVpc}`],
      ['deleted', `create-vpc-peering-connection --vpc-id ${vpcId} --peer-vpc-id ${remoteVpc}`],
    ] as const)('that is %s', async (status, fix) => {
      connection.peering.status = status;
      const checks = await runChecks();
      expect(firstBroken(checks)).toMatchObject({
        name: 'peering',
        fix: `aws ec2 ${fix} --region us-east-1`,
      });
      expect(checkOf(checks, 'forward-route')?.evidence).toEqual([
        `The route to 10.0.0.0/16 in ${table} goes over ${pcx}, which leads nowhere while it is ${status}.`,
      ]);
    });

    test('is found by the range of its other side where no route names it', async () => {
      connection.node.table.routes = [];
      expect(checkOf(await runChecks(), 'peering')).toMatchObject({ state: 'ok' });
    });

    test('that has ended is passed over for one that is active', async () => {
      const deleted = {
        ...connection.peering,
        vpcPeeringConnectionId: 'pcx-0aaa',
        status: 'deleted',
      } as const;
      lab.aws.state.peerings.unshift(deleted);
      connection.node.table.routes = [
        { destinationCidrBlock: '10.0.0.0/16', vpcPeeringConnectionId: 'pcx-0aaa', state: 'blackhole' },
      ];
      const checks = await runChecks();
      expect(states(checks)).toEqual({ ...allOk, 'forward-route': 'broken' });
      expect(firstBroken(checks)?.fix).toBe(
        `aws ec2 replace-route --route-table-id ${table} --destination-cidr-block 10.0.0.0/16 --vpc-peering-connection-id ${pcx} --region us-east-1`,
      );
    });

    test('that there is none', async () => {
      lab.aws.state.peerings.length = 0;
      connection.node.table.routes = [];
      const checks = await runChecks();
      expect(checks.slice(0, 3)).toMatchObject([
        {
          state: 'broken',
          evidence: [`No peering of ${vpcId} leads to a VPC that has 10.0.3.20.`],
          fix: `aws ec2 create-vpc-peering-connection --vpc-id ${vpcId} --peer-vpc-id ${remoteVpc} --region us-east-1`,
        },
        { state: 'broken' },
        { state: 'unknown' },
      ]);
      expect(checkOf(checks, 'peer-firewall')).toMatchObject({ state: 'unknown' });
    });
  });

  test('a public destination without a route is named so, and nothing is made up', async () => {
    const checks = await runChecks({ destination: '8.8.8.8' });
    expect(checkOf(checks, 'peering')).toEqual({
      name: 'peering',
      state: 'not-needed',
      evidence: ['8.8.8.8 is a public address: a gateway to the internet leads to it, and no peering.'],
    });
    expect(checkOf(checks, 'forward-route')).toMatchObject({ state: 'broken' });
    expect(checkOf(checks, 'forward-route')?.fix).toBeUndefined();
  });

  describe('the route there', () => {
    const nat: LabRoute = { destinationCidrBlock: '0.0.0.0/0', natGatewayId: 'nat-0a' };
    const peered: LabRoute = { destinationCidrBlock: '10.0.0.0/16', vpcPeeringConnectionId: pcx };
    const add = `aws ec2 create-route --route-table-id ${table} --destination-cidr-block 10.0.0.0/16 --vpc-peering-connection-id ${pcx} --region us-east-1`;

    test.each<[string, LabRoute[], Partial<Check>]>([
      ['a longer one wins', [nat, peered], { state: 'ok' }],
      [
        'one to the internet is none',
        [nat],
        {
          state: 'broken',
          evidence: [
            `The route to 0.0.0.0/0 in ${table} goes over nat-0a: 10.0.3.20 would leave for the internet.`,
          ],
          fix: add,
        },
      ],
      [
        'a longer one in the way: a blackhole',
        [peered, { destinationCidrBlock: '10.0.3.0/24', networkInterfaceId: 'eni-0a', state: 'blackhole' }],
        {
          state: 'broken',
          evidence: [expect.stringContaining('eni-0a, a blackhole')] as unknown as string[],
        },
      ],
      [
        'a static one before a propagated one',
        [
          { destinationCidrBlock: '10.0.0.0/16', gatewayId: 'vgw-0a', origin: 'EnableVgwRoutePropagation' },
          peered,
        ],
        { state: 'ok', evidence: [`The route to 10.0.0.0/16 in ${table} goes over ${pcx}.`] },
      ],
      [
        'by prefix list',
        [nat, { destinationPrefixListId: 'pl-0a', vpcPeeringConnectionId: pcx }],
        { state: 'ok', evidence: [`The route to pl-0a in ${table} goes over ${pcx}.`] },
      ],
    ])('%s', async (_, routes, expected) => {
      lab.aws.state.prefixLists.set('pl-0a', ['10.9.0.0/16', '10.0.3.0/24']);
      connection.node.table.routes = routes;
      expect(checkOf(await runChecks(), 'forward-route')).toMatchObject(expected);
    });

    test('over a gateway needs no peering, and its other end is not to be seen', async () => {
      connection.node.table.routes = [{ destinationCidrBlock: '10.0.0.0/8', gatewayId: 'vgw-0a' }];
      const checks = await runChecks();
      expect(states(checks)).toEqual({
        ...allOk,
        peering: 'not-needed',
        'return-route': 'unknown',
        'peer-firewall': 'unknown',
      });
      expect(checkOf(checks, 'return-route')?.fix).toBe(
        'aws ec2 describe-vpn-connections --filters Name=vpn-gateway-id,Values=vgw-0a --region us-east-1',
      );
    });
  });

  test('within the own VPC there is no peering, and within the subnet no ACL', async () => {
    const other = lab.aws.addNode({ subnetId, address: '172.20.0.77' });
    connection.node.acl.entries = [];
    connection.node.group.ingress = [{ ipProtocol: '-1', groups: [{ groupId: group }] }];
    expect(other).toBeDefined();
    expect(states(await runChecks({ destination: '172.20.0.77' }))).toEqual({
      ...allOk,
      peering: 'not-needed',
    });
  });

  test('a pod address gets no route back over a peering', async () => {
    expect(checkOf(await runChecks({ source: '10.244.0.10' }), 'return-route')).toMatchObject({
      state: 'broken',
      evidence: [
        `10.244.0.10 is no address of ${vpcId}, and a peering carries no others: it has to leave with the node's.`,
      ],
      fix: `npx peermasq plan --node ${id}`,
    });
  });

  test('a route back of another peering is replaced', async () => {
    connection.peer.table.routes = [{ destinationCidrBlock: nodeRange, vpcPeeringConnectionId: 'pcx-0b' }];
    expect(firstBroken(await runChecks())).toMatchObject({
      name: 'return-route',
      evidence: [
        `The route to 172.20.0.0/16 in ${remoteTable} goes over pcx-0b: what ${remoteVpc} answers does not come back.`,
      ],
      fix: `aws ec2 replace-route --route-table-id ${remoteTable} --destination-cidr-block 172.20.0.0/16 --vpc-peering-connection-id ${pcx} --region us-east-1`,
    });
  });

  test('without an interface the subnet tells the table, and the firewall is unknown', async () => {
    const checks = await runChecks({ destination: '10.0.77.1' });
    expect(states(checks)).toEqual({ ...allOk, 'peer-firewall': 'unknown' });
    expect(checkOf(checks, 'peer-firewall')).toMatchObject({
      evidence: [`No interface in ${remoteVpc} has 10.0.77.1.`],
      fix: `aws ec2 describe-network-interfaces --filters Name=addresses.private-ip-address,Values=10.0.77.1 Name=vpc-id,Values=${remoteVpc} --region us-east-1`,
    });
  });

  describe('the group of the peer', () => {
    const ports = { ipProtocol: 'tcp', fromPort: 5_000, toPort: 6_000 };
    test.each<[string, LabPermission, ConnectionOptions, Check['state']]>([
      [
        'a group of the node',
        { ...ports, groups: [{ groupId: group, vpcPeeringConnectionId: pcx, peeringStatus: 'active' }] },
        {},
        'ok',
      ],
      [
        'a group over a peering that has ended',
        { ...ports, groups: [{ groupId: group, peeringStatus: 'deleted' }] },
        {},
        'broken',
      ],
      ['another group', { ...ports, groups: [{ groupId: 'sg-0a' }] }, {}, 'broken'],
      [
        'a group, for what its members forward',
        { ...ports, groups: [{ groupId: group }] },
        { source: '10.244.0.10' },
        'broken',
      ],
      ['a prefix list', { ...ports, prefixListIds: [{ prefixListId: 'pl-0a' }] }, {}, 'ok'],
      [
        'a prefix list that cannot be seen',
        { ...ports, prefixListIds: [{ prefixListId: 'pl-0b' }] },
        {},
        'broken',
      ],
      ['another port', { ...ports, fromPort: 5_433, ipRanges: [{ cidrIp: nodeRange }] }, {}, 'broken'],
      ['another protocol', { ...ports, ipProtocol: 'udp', ipRanges: [{ cidrIp: nodeRange }] }, {}, 'broken'],
      ['what is no range', { ...ports, ipRanges: [{ cidrIp: '<all>' }] }, {}, 'broken'],
    ])('%s', async (_, permission, asked, state) => {
      lab.aws.state.prefixLists.set('pl-0a', [nodeRange]);
      connection.peer.group.ingress = [permission];
      expect(checkOf(await runChecks(asked), 'peer-firewall')).toMatchObject({ state });
    });
  });

  describe('a group that refers to a group', () => {
    const toPeers = { ipProtocol: 'tcp', fromPort: 5_432, toPort: 5_432, groups: [{ groupId: remoteGroup }] };

    test('lets out to a member of it', async () => {
      connection.node.group.egress = [toPeers];
      expect(states(await runChecks())).toEqual(allOk);
    });

    test('cannot be judged where the other end is not to be seen', async () => {
      connection.node.group.egress = [toPeers];
      const check = checkOf(await runChecks({ destination: '10.0.77.1' }), 'node-firewall');
      expect(check).toMatchObject({
        state: 'unknown',
        fix: 'aws ec2 describe-network-interfaces --filters Name=addresses.private-ip-address,Values=10.0.77.1 --region us-east-1',
      });
      expect(check?.evidence[0]).toBe(
        `${group} allows port 5432 with ${remoteGroup}; whether 10.0.77.1 is of that group is not to be seen.`,
      );
    });

    test('is of no use on another port', async () => {
      connection.node.group.egress = [{ ...toPeers, fromPort: 443, toPort: 443 }];
      expect(checkOf(await runChecks({ destination: '10.0.77.1' }), 'node-firewall')).toMatchObject({
        state: 'broken',
      });
    });
  });

  test.each([
    ['172.20.0.201', 'an address'],
    ['172.20.1.17', 'a prefix'],
  ])('the interface that has the source decides, not the primary one: %s, of %s', async (source) => {
    const podGroup = { ...connection.node.group, groupId: 'sg-0a', egress: [] };
    lab.aws.state.securityGroups.push(podGroup);
    lab.aws.state.interfaces.set('eni-0a', {
      networkInterfaceId: 'eni-0a',
      subnetId,
      addresses: ['172.20.0.200', '172.20.0.201'],
      ipv6Addresses: [],
      ipv4Prefixes: ['172.20.1.16/28'],
      groupIds: [podGroup.groupId],
      attachment: { instanceId: id, deviceIndex: 1 },
    });
    expect(states(await runChecks())).toEqual(allOk);
    expect(firstBroken(await runChecks({ source }))).toMatchObject({
      name: 'node-firewall',
      evidence: [expect.stringContaining('No rule of sg-0a '), expect.anything(), expect.anything()],
    });
  });

  describe('a network ACL', () => {
    const entry = (ruleNumber: number, ruleAction: 'allow' | 'deny', from: number, to: number) =>
      ({
        ruleNumber,
        egress: false,
        ruleAction,
        protocol: '6',
        cidrBlock: '0.0.0.0/0',
        portRange: { from, to },
      }) as const;
    const returnTraffic = async (...entries: ReturnType<typeof entry>[]) => {
      connection.node.acl.entries = [
        ...connection.node.acl.entries.filter(({ egress }) => egress),
        ...entries,
      ];
      const { state, evidence = [], fix } = checkOf(await runChecks(), 'node-firewall') ?? {};
      return { state, evidenceLine: evidence.find((words) => words.includes('the answers')), fix };
    };
    const from = 'in from 10.0.3.20';

    test('the lower number decides, whatever the order', async () => {
      expect(
        await returnTraffic(entry(200, 'deny', 0, 65_535), entry(100, 'allow', 0, 65_535)),
      ).toMatchObject({
        state: 'ok',
        evidenceLine: `${acl} lets the answers ${from} on ports 1024-65535 (entry 100).`,
      });
    });

    test('that lets through what Linux takes for itself says what it refuses', async () => {
      expect(await returnTraffic(entry(100, 'allow', 32_768, 65_535))).toMatchObject({
        state: 'ok',
        evidenceLine: `${acl} lets the answers ${from} on ports 32768-65535 (entry 100); ${acl} refuses the answers ${from} on ports 1024-32767 (entry 32767).`,
      });
    });

    test('that refuses some of that is broken', async () => {
      expect(
        await returnTraffic(entry(100, 'deny', 40_000, 49_999), entry(110, 'allow', 1_024, 65_535)),
      ).toEqual({
        state: 'broken',
        evidenceLine: `${acl} lets the answers ${from} on ports 1024-39999 (entry 110), ports 50000-65535 (entry 110); ${acl} refuses the answers ${from} on ports 40000-49999 (entry 100).`,
        fix: `aws ec2 create-network-acl-entry --network-acl-id ${acl} --ingress --rule-number 99 --protocol 6 --port-range From=1024,To=65535 --cidr-block 10.0.3.20/32 --rule-action allow --region us-east-1`,
      });
    });

    test('without a number before the entry the entry has to go', async () => {
      expect((await returnTraffic(entry(1, 'deny', 0, 65_535))).fix).toBe(
        `aws ec2 delete-network-acl-entry --network-acl-id ${acl} --rule-number 1 --ingress --region us-east-1`,
      );
    });
  });

  describe('without the permission for', () => {
    test.each<[string, CheckName[]]>([
      ['ec2:DescribeVpcPeeringConnections', ['peering', 'return-route', 'peer-firewall']],
      ['ec2:DescribeRouteTables', ['forward-route', 'return-route']],
      ['ec2:DescribeNetworkInterfaces', ['node-firewall', 'peer-firewall']],
      ['ec2:DescribeSecurityGroups', ['node-firewall', 'peer-firewall']],
      ['ec2:DescribeNetworkAcls', ['node-firewall', 'peer-firewall']],
      ['ec2:DescribeSubnets', []],
      ['ec2:DescribeVpcs', []],
    ])('%s, %j are unknown and say so', async (action, names) => {
      lab.aws.deny(action);
      const checks = await runChecks();
      expect(states(checks)).toEqual({
        ...allOk,
        ...Object.fromEntries(names.map((name) => [name, 'unknown'])),
      });
      for (const name of names) expect(checkOf(checks, name)?.evidence.join()).toContain(action);
    });
  });

  test('what AWS answers is one word to a shell', async () => {
    Object.assign(connection.node.table, { routeTableId: '$(reboot)', routes: [] });
    expect(firstBroken(await runChecks())?.fix).toContain(` --route-table-id '$(reboot)' `);
  });

  test('a node that has ended is in no network', async () => {
    id = lab.aws.addNode({ subnetId, state: 'terminated' });
    expect(new Set(Object.values(states(await runChecks())))).toEqual(new Set(['unknown']));
  });

  test('credentials that are over are not a finding', async () => {
    lab.aws.fail('DescribeRouteTables', 'RequestExpired', 'Request has expired.', 9);
    await expect(runChecks()).rejects.toMatchObject({ code: 'expired-credentials' });
  });
});

describe('a peer in another account', () => {
  const [peerAccount, role] = ['222222222222', { roleName: 'peer' }] as const;
  beforeEach(() => {
    connection = addConnection(lab.aws, newConnection(lab.aws.addAccount(peerAccount, role)));
    id = addNode();
  });

  test('whose credentials nobody gave is unknown, with what to ask there', async () => {
    const checks = await runChecks();
    expect(states(checks)).toEqual({ ...allOk, 'return-route': 'unknown', 'peer-firewall': 'unknown' });
    expect(checkOf(checks, 'return-route')).toMatchObject({
      evidence: [
        `The route tables of ${remoteVpc} are those of account ${peerAccount}, and not to be seen from here.`,
      ],
      fix: `aws ec2 describe-route-tables --filters Name=vpc-id,Values=${remoteVpc} --region us-east-1 --profile PROFILE_OF_222222222222`,
    });
  });

  test('accepts a peering itself', async () => {
    connection.misconfigure('peering-pending');
    expect(firstBroken(await runChecks())).toMatchObject({
      name: 'peering',
      evidence: [expect.stringContaining('its ranges are not to be seen')],
      fix: `aws ec2 accept-vpc-peering-connection --vpc-peering-connection-id ${pcx} --region us-east-1 --profile PROFILE_OF_222222222222`,
    });
  });

  test('is looked at with the clients that are given', async () => {
    const clients = makeClients(labRegion, `arn:aws:iam::${peerAccount}:role/peer`);
    const clientsOf = (account: string) => (account === peerAccount ? clients : undefined);
    expect(states(await runChecks({ clientsOf }))).toEqual(allOk);
    connection.misconfigure('no-return-route');
    expect(firstBroken(await runChecks({ clientsOf }))?.fix).toBe(
      `aws ec2 create-route --route-table-id ${remoteTable} --destination-cidr-block 172.20.0.0/16 --vpc-peering-connection-id ${pcx} --region us-east-1 --profile PROFILE_OF_222222222222`,
    );
    clients.ec2.destroy();
  });
});
