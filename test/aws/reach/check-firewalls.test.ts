import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Check } from '../../../shared/core/doctor/check';
import type { LabPermission } from '../../lab/aws/state';
import {
  allOk,
  local,
  openReachLab,
  peering,
  remote,
  statesOf,
  type Endpoints,
  type ReachLab,
} from './reach-lab';

let lab: ReachLab;
beforeEach(async () => {
  lab = await openReachLab();
});
afterEach(() => lab.close());

describe('a rule in the peer’s security group', () => {
  interface Case {
    readonly rule: LabPermission;
    readonly endpoints?: Endpoints;
    readonly state: Check['state'];
  }
  const ports = { ipProtocol: 'tcp', fromPort: 5_000, toPort: 6_000 };

  test.each<[string, Case]>([
    [
      'allows the node’s security group',
      {
        rule: {
          ...ports,
          groups: [{ groupId: local.group, vpcPeeringConnectionId: peering, peeringStatus: 'active' }],
        },
        state: 'ok',
      },
    ],
    [
      'ignores a security group that is referenced over a deleted peering',
      { rule: { ...ports, groups: [{ groupId: local.group, peeringStatus: 'deleted' }] }, state: 'broken' },
    ],
    [
      'does not allow members of another security group',
      { rule: { ...ports, groups: [{ groupId: 'sg-0a' }] }, state: 'broken' },
    ],
    [
      'does not allow addresses whose traffic the group’s members forward',
      {
        rule: { ...ports, groups: [{ groupId: local.group }] },
        endpoints: { source: '10.244.0.10' },
        state: 'broken',
      },
    ],
    ['allows a prefix list', { rule: { ...ports, prefixListIds: [{ prefixListId: 'pl-0a' }] }, state: 'ok' }],
    [
      'ignores a prefix list that does not exist',
      { rule: { ...ports, prefixListIds: [{ prefixListId: 'pl-0b' }] }, state: 'broken' },
    ],
    [
      'does not allow another port',
      { rule: { ...ports, fromPort: 5_433, ipRanges: [{ cidrIp: local.range }] }, state: 'broken' },
    ],
    [
      'does not allow another protocol',
      { rule: { ...ports, ipProtocol: 'udp', ipRanges: [{ cidrIp: local.range }] }, state: 'broken' },
    ],
    [
      'ignores a source that is not a CIDR',
      { rule: { ...ports, ipRanges: [{ cidrIp: '<all>' }] }, state: 'broken' },
    ],
  ])('%s', async (_, { rule, endpoints, state }) => {
    lab.aws.state.prefixLists.set('pl-0a', [local.range]);
    lab.connection.peer.group.ingress = [rule];
    expect(await lab.runCheck('peer-firewall', endpoints)).toMatchObject({ state });
  });
});

describe('a rule in the node’s security group that references the peer’s security group', () => {
  const toPeers = {
    ipProtocol: 'tcp',
    fromPort: 5_432,
    toPort: 5_432,
    groups: [{ groupId: remote.group }],
  };

  test('allows traffic to a member', async () => {
    lab.connection.node.group.egress = [toPeers];
    expect(statesOf(await lab.runChecks())).toEqual(allOk);
  });

  test('is unknown if no network interface has the destination address', async () => {
    lab.connection.node.group.egress = [toPeers];
    const { state, evidence, fix } = await lab.runCheck('node-firewall', { destination: '10.0.77.1' });
    expect(state).toBe('unknown');
    expect(evidence[0]).toBe(
      `${local.group} has a matching rule (port 5432, ${remote.group}), but it is unknown whether 10.0.77.1 is in that group.`,
    );
    expect(fix).toBe(
      'aws ec2 describe-network-interfaces --filters Name=addresses.private-ip-address,Values=10.0.77.1 --region us-east-1',
    );
  });

  test('does not allow another port', async () => {
    lab.connection.node.group.egress = [{ ...toPeers, fromPort: 443, toPort: 443 }];
    expect(await lab.runCheck('node-firewall', { destination: '10.0.77.1' })).toMatchObject({
      state: 'broken',
    });
  });
});

test.each([
  ['an address', '172.20.0.201'],
  ['a prefix', '172.20.1.17'],
])(
  'the firewalls of the interface with the source address are checked, not those of the primary interface',
  async (_, source) => {
    const podGroup = { ...lab.connection.node.group, groupId: 'sg-0a', egress: [] };
    lab.aws.state.securityGroups.push(podGroup);
    lab.aws.state.interfaces.set('eni-0a', {
      networkInterfaceId: 'eni-0a',
      subnetId: local.subnetId,
      addresses: ['172.20.0.200', '172.20.0.201'],
      ipv6Addresses: [],
      ipv4Prefixes: ['172.20.1.16/28'],
      groupIds: [podGroup.groupId],
      attachment: { instanceId: lab.nodeId, deviceIndex: 1 },
    });
    expect(statesOf(await lab.runChecks())).toEqual(allOk);
    expect(await lab.firstBroken({ source })).toMatchObject({
      name: 'node-firewall',
      evidence: [expect.stringContaining('No rule of sg-0a '), expect.anything(), expect.anything()],
    });
  },
);

describe('return traffic through a network ACL', () => {
  const entry = (ruleNumber: number, ruleAction: 'allow' | 'deny', [from, to]: [number, number]) =>
    ({
      ruleNumber,
      egress: false,
      ruleAction,
      protocol: '6',
      cidrBlock: '0.0.0.0/0',
      portRange: { from, to },
    }) as const;

  async function checkWith(...entries: ReturnType<typeof entry>[]) {
    const { acl } = lab.connection.node;
    acl.entries = [...acl.entries.filter(({ egress }) => egress), ...entries];
    const { state, evidence, fix } = await lab.runCheck('node-firewall');
    return { state, evidence: evidence.find((line) => line.includes('return traffic')), fix };
  }
  const what = 'inbound return traffic from 10.0.3.20';

  test('depends on the rule with the lowest number, regardless of the order in the list', async () => {
    expect(await checkWith(entry(200, 'deny', [0, 65_535]), entry(100, 'allow', [0, 65_535]))).toMatchObject({
      state: 'ok',
      evidence: `${local.acl} allows ${what} on ports 1024-65535 (rule 100).`,
    });
  });

  test('is ok if the ports that Linux uses are allowed, and the evidence mentions the denied ports', async () => {
    expect(await checkWith(entry(100, 'allow', [32_768, 65_535]))).toMatchObject({
      state: 'ok',
      evidence: `${local.acl} allows ${what} on ports 32768-65535 (rule 100); denies it on ports 1024-32767 (rule *).`,
    });
  });

  test('is broken if some of the ports that Linux uses are denied', async () => {
    expect(
      await checkWith(entry(100, 'deny', [40_000, 49_999]), entry(110, 'allow', [1_024, 65_535])),
    ).toEqual({
      state: 'broken',
      evidence: `${local.acl} allows ${what} on ports 1024-39999 (rule 110), ports 50000-65535 (rule 110); denies it on ports 40000-49999 (rule 100).`,
      fix: `aws ec2 create-network-acl-entry --network-acl-id ${local.acl} --ingress --rule-number 99 --protocol 6 --port-range From=1024,To=65535 --cidr-block 10.0.3.20/32 --rule-action allow --region us-east-1`,
    });
  });

  test('is fixed by deleting the denying rule if no lower rule number is free', async () => {
    expect((await checkWith(entry(1, 'deny', [0, 65_535]))).fix).toBe(
      `aws ec2 delete-network-acl-entry --network-acl-id ${local.acl} --rule-number 1 --ingress --region us-east-1`,
    );
  });
});
