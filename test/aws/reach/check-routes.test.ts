import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { LabRoute } from '../../lab/aws/state';
import { allOk, local, openReachLab, peering, remote, statesOf, type ReachLab } from './reach-lab';

let lab: ReachLab;
beforeEach(async () => {
  lab = await openReachLab();
});
afterEach(() => lab.close());

describe('the forward route', () => {
  const nat: LabRoute = { destinationCidrBlock: '0.0.0.0/0', natGatewayId: 'nat-0a' };
  const peered: LabRoute = { destinationCidrBlock: '10.0.0.0/16', vpcPeeringConnectionId: peering };
  const create = `aws ec2 create-route --route-table-id ${local.table} --destination-cidr-block 10.0.0.0/16 --vpc-peering-connection-id ${peering} --region us-east-1`;

  test.each<[string, LabRoute[], object]>([
    ['uses the longest matching prefix', [nat, peered], { state: 'ok' }],
    [
      'is broken if it leads to the internet',
      [nat],
      {
        state: 'broken',
        evidence: [
          `${local.table} routes 0.0.0.0/0 to nat-0a: traffic to 10.0.3.20 would go to the internet.`,
        ],
        fix: create,
      },
    ],
    [
      'is broken if the longest match is a blackhole',
      [peered, { destinationCidrBlock: '10.0.3.0/24', networkInterfaceId: 'eni-0a', state: 'blackhole' }],
      {
        state: 'broken',
        evidence: [
          `${local.table} routes 10.0.3.0/24 to eni-0a, a blackhole: eni-0a was deleted or detached.`,
        ],
      },
    ],
    [
      'prefers a static route to a propagated one',
      [
        { destinationCidrBlock: '10.0.0.0/16', gatewayId: 'vgw-0a', origin: 'EnableVgwRoutePropagation' },
        peered,
      ],
      { state: 'ok', evidence: [`${local.table} routes 10.0.0.0/16 to ${peering}.`] },
    ],
    [
      'may have a prefix list as its destination',
      [nat, { destinationPrefixListId: 'pl-0a', vpcPeeringConnectionId: peering }],
      { state: 'ok', evidence: [`${local.table} routes pl-0a to ${peering}.`] },
    ],
  ])('%s', async (_, routes, expected) => {
    lab.aws.state.prefixLists.set('pl-0a', ['10.9.0.0/16', '10.0.3.0/24']);
    lab.connection.node.table.routes = routes;
    expect(await lab.runCheck('forward-route')).toMatchObject(expected);
  });

  test('to a gateway needs no peering, and the network behind the gateway is unknown', async () => {
    lab.connection.node.table.routes = [{ destinationCidrBlock: '10.0.0.0/8', gatewayId: 'vgw-0a' }];
    const checks = await lab.runChecks();
    expect(statesOf(checks)).toEqual({
      ...allOk,
      peering: 'not-needed',
      'return-route': 'unknown',
      'peer-firewall': 'unknown',
    });
    expect(checks).toMatchObject([
      { evidence: [`${local.table} routes 10.0.0.0/8 to vgw-0a, not to a peering.`] },
      { evidence: [`${local.table} routes 10.0.0.0/8 to vgw-0a.`] },
      {
        evidence: ['Cannot check the network behind vgw-0a; it needs a route to 172.20.0.9.'],
        fix: 'aws ec2 describe-vpn-connections --filters Name=vpn-gateway-id,Values=vgw-0a --region us-east-1',
      },
      {},
      {},
    ]);
  });
});

describe('the return route', () => {
  test('is broken for a pod address, because a peering does not carry it', async () => {
    expect(await lab.runCheck('return-route', { source: '10.244.0.10' })).toMatchObject({
      state: 'broken',
      evidence: [
        `10.244.0.10 is not an address of ${local.vpcId}, and a peering carries only addresses of its two VPCs: the packet has to leave with the node's address.`,
      ],
      fix: `npx peermasq plan --node ${lab.nodeId}`,
    });
  });

  test('is fixed by replacing a route that leads to a different peering', async () => {
    lab.connection.peer.table.routes = [
      { destinationCidrBlock: local.range, vpcPeeringConnectionId: 'pcx-0b' },
    ];
    expect(await lab.firstBroken()).toMatchObject({
      name: 'return-route',
      evidence: [
        `${remote.table} routes 172.20.0.0/16 to pcx-0b: return traffic from ${remote.vpcId} does not reach 172.20.0.9.`,
      ],
      fix: `aws ec2 replace-route --route-table-id ${remote.table} --destination-cidr-block 172.20.0.0/16 --vpc-peering-connection-id ${peering} --region us-east-1`,
    });
  });

  test('is found through the subnet if no network interface has the destination address', async () => {
    const checks = await lab.runChecks({ destination: '10.0.77.1' });
    expect(statesOf(checks)).toEqual({ ...allOk, 'peer-firewall': 'unknown' });
    expect(checks.at(-1)).toMatchObject({
      evidence: [`No network interface in ${remote.vpcId} has 10.0.77.1.`],
      fix: `aws ec2 describe-network-interfaces --filters Name=addresses.private-ip-address,Values=10.0.77.1 Name=vpc-id,Values=${remote.vpcId} --region us-east-1`,
    });
  });
});
