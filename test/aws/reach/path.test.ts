import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { CheckName } from '../../../shared/core/doctor/check';
import { labAccount } from '../../lab/aws/cloud';
import type { Misconfiguration } from '../../lab/aws/connection';
import {
  allOk,
  local,
  openReachLab,
  peerAccount,
  peering,
  remote,
  statesOf,
  type ReachLab,
} from './reach-lab';

let lab: ReachLab;
afterEach(() => lab.close());

describe('a connection over a peering', () => {
  beforeEach(async () => {
    lab = await openReachLab();
  });

  test('passes every check, and each check has its evidence', async () => {
    expect(await lab.runChecks()).toEqual([
      {
        name: 'peering',
        state: 'ok',
        evidence: [
          `${peering} is active between ${local.vpcId} (account ${labAccount}, us-east-1, 172.20.0.0/16, 2001:db8:1::/56) and ${remote.vpcId} (account ${labAccount}, us-east-1, 10.0.0.0/16, 2001:db8:2::/56).`,
        ],
      },
      {
        name: 'forward-route',
        state: 'ok',
        evidence: [`${local.table} routes 10.0.0.0/16 to ${peering}.`],
      },
      {
        name: 'return-route',
        state: 'ok',
        evidence: [`${remote.table} routes 172.20.0.0/16 to ${peering}.`],
      },
      {
        name: 'node-firewall',
        state: 'ok',
        evidence: [
          `${local.group} allows outbound traffic to 10.0.3.20 on port 5432 (rule: all traffic, 0.0.0.0/0).`,
          `${local.acl} allows outbound traffic to 10.0.3.20 on port 5432 (rule 100).`,
          `${local.acl} allows inbound return traffic from 10.0.3.20 on ports 1024-65535 (rule 100).`,
        ],
      },
      {
        name: 'peer-firewall',
        state: 'ok',
        evidence: [
          `${remote.group} allows inbound traffic from 172.20.0.9 on port 5432 (rule: port 5432, 172.20.0.0/16).`,
          `${remote.acl} allows inbound traffic from 172.20.0.9 on port 5432 (rule 100).`,
          `${remote.acl} allows outbound return traffic to 172.20.0.9 on ports 1024-65535 (rule 100).`,
        ],
      },
    ]);
  });

  test('is checked without making any call twice', async () => {
    await lab.runChecks();
    const calls = lab.aws.calls.map(({ action, input }) => `${action} ${JSON.stringify(input)}`);
    expect(calls).toHaveLength(new Set(calls).size);
  });

  test('is checked with every page of a list', async () => {
    lab.aws.state.pageSize = 1;
    expect(statesOf(await lab.runChecks())).toEqual(allOk);
  });

  test('is checked over IPv6, and the fix has IPv6 options', async () => {
    const endpoints = { source: local.ipv6Address, destination: remote.ipv6Address };
    expect(statesOf(await lab.runChecks(endpoints))).toEqual(allOk);
    lab.connection.peer.group.ingress = [];
    expect((await lab.firstBroken(endpoints))?.fix).toBe(
      `aws ec2 authorize-security-group-ingress --group-id ${remote.group} --ip-permissions 'IpProtocol=tcp,FromPort=5432,ToPort=5432,Ipv6Ranges=[{CidrIpv6=2001:db8:1::/56}]' --region us-east-1`,
    );
  });

  test.each<[Misconfiguration, { name: CheckName; evidence: RegExp; fix: string }]>([
    [
      'peering-pending',
      {
        name: 'peering',
        evidence:
          /^pcx-0123456789abcdef0 is pending-acceptance between vpc-0123456789abcdef0 .* and vpc-0fedcba9876543210 /,
        fix: `aws ec2 accept-vpc-peering-connection --vpc-peering-connection-id ${peering} --region us-east-1`,
      },
    ],
    [
      'no-forward-route',
      {
        name: 'forward-route',
        evidence:
          /^rtb-0123456789abcdef0, the route table of subnet-0123456789abcdef0, has no route to 10\.0\.3\.20\.$/,
        fix: `aws ec2 create-route --route-table-id ${local.table} --destination-cidr-block 10.0.0.0/16 --vpc-peering-connection-id ${peering} --region us-east-1`,
      },
    ],
    [
      'no-return-route',
      {
        name: 'return-route',
        evidence:
          /^rtb-0fedcba9876543210, the route table of subnet-0fedcba9876543210, has no route to 172\.20\.0\.9\.$/,
        fix: `aws ec2 create-route --route-table-id ${remote.table} --destination-cidr-block 172.20.0.0/16 --vpc-peering-connection-id ${peering} --region us-east-1`,
      },
    ],
    [
      'security-group-blocks-egress',
      {
        name: 'node-firewall',
        evidence: /^No rule of sg-0123456789abcdef0 allows outbound traffic to 10\.0\.3\.20 on port 5432\.$/,
        fix: `aws ec2 authorize-security-group-egress --group-id ${local.group} --ip-permissions 'IpProtocol=tcp,FromPort=5432,ToPort=5432,IpRanges=[{CidrIp=10.0.3.20/32}]' --region us-east-1`,
      },
    ],
    [
      'network-acl-blocks-egress',
      {
        name: 'node-firewall',
        evidence:
          /^acl-0123456789abcdef0 denies outbound traffic to 10\.0\.3\.20 on port 5432 \(rule 50\)\.$/,
        fix: `aws ec2 create-network-acl-entry --network-acl-id ${local.acl} --egress --rule-number 49 --protocol 6 --port-range From=5432,To=5432 --cidr-block 10.0.3.20/32 --rule-action allow --region us-east-1`,
      },
    ],
    [
      'security-group-blocks-ingress',
      {
        name: 'peer-firewall',
        evidence:
          /^No rule of sg-0fedcba98765432101 allows inbound traffic from 172\.20\.0\.9 on port 5432\.$/,
        fix: `aws ec2 authorize-security-group-ingress --group-id ${remote.group} --ip-permissions 'IpProtocol=tcp,FromPort=5432,ToPort=5432,IpRanges=[{CidrIp=172.20.0.0/16}]' --region us-east-1`,
      },
    ],
    [
      'network-acl-blocks-ingress',
      {
        name: 'peer-firewall',
        evidence:
          /^acl-0fedcba9876543210 denies inbound traffic from 172\.20\.0\.9 on port 5432 \(rule 50\)\.$/,
        fix: `aws ec2 create-network-acl-entry --network-acl-id ${remote.acl} --ingress --rule-number 49 --protocol 6 --port-range From=5432,To=5432 --cidr-block 172.20.0.0/16 --rule-action allow --region us-east-1`,
      },
    ],
  ])('is broken by %s', async (misconfiguration, { name, evidence, fix }) => {
    lab.connection.misconfigure(misconfiguration);
    const broken = await lab.firstBroken();
    expect(broken).toMatchObject({ name, fix });
    expect(broken?.evidence.some((line) => evidence.test(line))).toBe(true);
  });

  test.each<[string, CheckName[]]>([
    ['ec2:DescribeVpcPeeringConnections', ['peering', 'return-route', 'peer-firewall']],
    ['ec2:DescribeRouteTables', ['forward-route', 'return-route']],
    ['ec2:DescribeNetworkInterfaces', ['node-firewall', 'peer-firewall']],
    ['ec2:DescribeSecurityGroups', ['node-firewall', 'peer-firewall']],
    ['ec2:DescribeNetworkAcls', ['node-firewall', 'peer-firewall']],
    ['ec2:DescribeSubnets', []],
    ['ec2:DescribeVpcs', []],
  ])('has unknown checks that name the missing permission %s: %j', async (action, names) => {
    lab.aws.deny(action);
    const checks = await lab.runChecks();
    expect(statesOf(checks)).toEqual({
      ...allOk,
      ...Object.fromEntries(names.map((name) => [name, 'unknown'])),
    });
    for (const { state, evidence } of checks)
      if (state === 'unknown') expect(evidence.join()).toContain(action);
  });

  test('has fixes that quote the values that AWS returned', async () => {
    Object.assign(lab.connection.node.table, { routeTableId: '$(reboot)', routes: [] });
    expect((await lab.firstBroken())?.fix).toContain(` --route-table-id '$(reboot)' `);
  });

  test('has only unknown checks when the node is terminated', async () => {
    lab.nodeId = lab.aws.addNode({ subnetId: local.subnetId, state: 'terminated' });
    const checks = await lab.runChecks();
    expect(new Set(checks.map(({ state }) => state))).toEqual(new Set(['unknown']));
  });

  test('cannot be checked with expired credentials, and an error is thrown', async () => {
    lab.aws.fail('DescribeRouteTables', 'RequestExpired', 'Request has expired.', 9);
    await expect(lab.runChecks()).rejects.toMatchObject({ code: 'expired-credentials' });
  });
});

describe('a peer in another account', () => {
  const { vpcId } = remote;
  beforeEach(async () => {
    lab = await openReachLab({ peer: 'other-account' });
  });

  test("cannot reply to an address outside the node's VPC, because no peering carries that address", async () => {
    expect(await lab.runCheck('return-route', { source: '10.244.0.10' })).toMatchObject({
      state: 'broken',
      fix: expect.stringContaining('npx peermasq plan'),
    });
  });

  test('has unknown checks, with the commands to run in its account', async () => {
    const checks = await lab.runChecks();
    expect(statesOf(checks)).toEqual({ ...allOk, 'return-route': 'unknown', 'peer-firewall': 'unknown' });
    expect(checks.slice(2)).toMatchObject([
      {
        evidence: [`Cannot read the route tables of ${vpcId}: it is in account ${peerAccount}, us-east-1.`],
        fix: `aws ec2 describe-route-tables --filters Name=vpc-id,Values=${vpcId} --region us-east-1 --profile PROFILE_OF_222222222222`,
      },
      { name: 'node-firewall' },
      {
        evidence: [
          `Cannot read the security groups and network ACLs of ${vpcId}: it is in account ${peerAccount}, us-east-1.`,
        ],
        fix: `aws ec2 describe-network-interfaces --filters Name=addresses.private-ip-address,Values=10.0.3.20 Name=vpc-id,Values=${vpcId} --region us-east-1 --profile PROFILE_OF_222222222222`,
      },
    ]);
  });

  test('must accept the peering itself', async () => {
    lab.connection.misconfigure('peering-pending');
    expect(await lab.firstBroken()).toMatchObject({
      name: 'peering',
      evidence: [
        expect.stringContaining(`${vpcId} (account ${peerAccount}, us-east-1, unknown CIDR blocks)`),
      ],
      fix: `aws ec2 accept-vpc-peering-connection --vpc-peering-connection-id ${peering} --region us-east-1 --profile PROFILE_OF_222222222222`,
    });
  });
});
