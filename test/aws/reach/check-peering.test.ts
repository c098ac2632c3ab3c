import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { allOk, local, openReachLab, peering, remote, statesOf, type ReachLab } from './reach-lab';

let lab: ReachLab;
beforeEach(async () => {
  lab = await openReachLab();
});
afterEach(() => lab.close());

const create = `create-vpc-peering-connection --vpc-id ${local.vpcId} --peer-vpc-id ${remote.vpcId}`;

test.each([
  ['provisioning', `describe-vpc-peering-connections --vpc-peering-connection-ids ${peering}`],
  ['rejected', create],
  ['expired', create],
  ['deleted', create],
] as const)(
  'a peering with the status %s is broken, and its route carries no traffic',
  async (status, fix) => {
    lab.connection.peering.status = status;
    expect(await lab.firstBroken()).toMatchObject({
      name: 'peering',
      fix: `aws ec2 ${fix} --region us-east-1`,
    });
    expect((await lab.runCheck('forward-route')).evidence).toEqual([
      `${local.table} routes 10.0.0.0/16 to ${peering}, which carries no traffic while it is ${status}.`,
    ]);
  },
);

test('a peering without a route is found through the CIDR blocks of the peer VPC', async () => {
  lab.connection.node.table.routes = [];
  expect(await lab.runCheck('peering')).toMatchObject({ state: 'ok' });
});

test('an active peering takes precedence over a deleted peering that the route names', async () => {
  lab.aws.state.peerings.unshift({
    ...lab.connection.peering,
    vpcPeeringConnectionId: 'pcx-0aaa',
    status: 'deleted',
  });
  lab.connection.node.table.routes = [
    { destinationCidrBlock: '10.0.0.0/16', vpcPeeringConnectionId: 'pcx-0aaa', state: 'blackhole' },
  ];
  expect(statesOf(await lab.runChecks())).toEqual({ ...allOk, 'forward-route': 'broken' });
  expect(await lab.firstBroken()).toMatchObject({
    evidence: [
      `${local.table} routes 10.0.0.0/16 to pcx-0aaa, a blackhole; ${peering} is the peering with ${remote.vpcId}, which contains 10.0.3.20.`,
    ],
    fix: `aws ec2 replace-route --route-table-id ${local.table} --destination-cidr-block 10.0.0.0/16 --vpc-peering-connection-id ${peering} --region us-east-1`,
  });
});

test('if there is no peering, the fix names the VPC that has the address', async () => {
  lab.aws.state.peerings.length = 0;
  lab.connection.node.table.routes = [];
  expect(await lab.runChecks()).toMatchObject([
    {
      state: 'broken',
      evidence: [`No peering of ${local.vpcId} leads to a VPC that contains 10.0.3.20.`],
      fix: `aws ec2 ${create} --region us-east-1`,
    },
    { state: 'broken' },
    {
      state: 'unknown',
      evidence: ['No peering leads to 10.0.3.20, so there is no route table to check.'],
    },
    { name: 'node-firewall' },
    { state: 'unknown', evidence: ['Found no VPC that contains 10.0.3.20.'] },
  ]);
});

describe('a peering that this account cannot describe (as in a shared VPC)', () => {
  beforeEach(() => {
    lab.aws.state.peerings.length = 0;
  });

  test('is unknown while its route is active', async () => {
    expect(await lab.runChecks()).toMatchObject([
      { state: 'unknown', evidence: [expect.stringContaining(`cannot describe that peering`)] },
      { state: 'ok', evidence: [`${local.table} routes 10.0.0.0/16 to ${peering}.`] },
      {
        state: 'unknown',
        evidence: [`Cannot check the network behind ${peering}; it needs a route to ${local.address}.`],
      },
      { name: 'node-firewall' },
      { state: 'unknown' },
    ]);
  });

  test('is broken when its route is a blackhole', async () => {
    const [route] = lab.connection.node.table.routes;
    lab.connection.node.table.routes = [{ ...route, state: 'blackhole' }];
    expect(statesOf(await lab.runChecks())).toMatchObject({ peering: 'broken', 'forward-route': 'broken' });
  });
});

test('a public destination needs no peering', async () => {
  const destination = '8.8.8.8';
  expect(await lab.runCheck('peering', { destination })).toEqual({
    name: 'peering',
    state: 'not-needed',
    evidence: ['8.8.8.8 is a public address: it is reached through an internet gateway, not a peering.'],
  });
  const route = await lab.runCheck('forward-route', { destination });
  expect(route.state).toBe('broken');
  expect(route.fix).toBeUndefined();
});

test('a destination in the same subnet needs no peering and passes no network ACL', async () => {
  lab.aws.addNode({ subnetId: local.subnetId, address: '172.20.0.77' });
  lab.connection.node.acl.entries = [];
  lab.connection.node.group.ingress = [{ ipProtocol: '-1', groups: [{ groupId: local.group }] }];
  const checks = await lab.runChecks({ destination: '172.20.0.77' });
  expect(statesOf(checks)).toEqual({ ...allOk, peering: 'not-needed' });
});
