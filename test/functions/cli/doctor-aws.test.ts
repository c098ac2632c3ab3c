import type { CheckName } from '../../../shared/core/doctor/check';
import { misconfigurations, type LabConnection, type Misconfiguration } from '../../lab/aws/connection';
import { openAccount } from '../../lab/demo/aws-event';
import { buildNetworks } from '../../lab/networks';
import { awsPeering } from '../../lab/topologies';
import type { LocalAws } from '../../lab/aws/cloud';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  checkNamed,
  describeDoctor,
  describeNodeBreaks,
  iptables,
  type CloudBreak,
  type DoctorFixture,
  type DoctorLab,
} from './describe-doctor';

interface AwsLab extends DoctorLab {
  readonly connection: LabConnection;
  readonly aws: LocalAws;
}

async function open(): Promise<AwsLab> {
  const networks = await buildNetworks(awsPeering);
  const account = await openAccount(networks, { state: 'running' });
  Object.assign(process.env, account.aws.env);
  const { config, deployment, id, connection, peermasq, aws, home } = account;
  if (!connection) throw new Error('The peer is not in AWS');
  return {
    networks,
    connection,
    aws,
    writeConfig: (text) => home.write('other.yaml', text),
    options: { config, cloud: 'aws', stage: deployment.stage, timeout: 60 },
    node: id,
    peermasq,
    fix: async () => {
      const { status, stderr } = await peermasq(['backfill', '--yes']);
      if (status !== 0) throw new Error(stderr);
    },
    close: async () => {
      await account.close();
      await networks.close();
    },
  };
}

const fixes: Readonly<Record<Misconfiguration, readonly [CheckName, string]>> = {
  'peering-pending': ['peering', 'aws ec2 accept-vpc-peering-connection'],
  'no-forward-route': ['forward-route', 'aws ec2 create-route'],
  'no-return-route': ['return-route', 'aws ec2 create-route'],
  'security-group-blocks-egress': ['node-firewall', 'aws ec2 authorize-security-group-egress'],
  'network-acl-blocks-egress': ['node-firewall', 'aws ec2 create-network-acl-entry'],
  'security-group-blocks-ingress': ['peer-firewall', 'aws ec2 authorize-security-group-ingress'],
  'network-acl-blocks-ingress': ['peer-firewall', 'aws ec2 create-network-acl-entry'],
};

describeDoctor('AWS', {
  open,
  cloudBreaks: Object.entries(fixes).map(([name, [check, fix]]): CloudBreak<AwsLab> => ({
    title: name,
    breakIt: ({ connection }) => {
      const restore = saveState(connection);
      misconfigurations[name as Misconfiguration](connection);
      return restore;
    },
    check,
    fix,
  })),
  describeMore: (fixture) => {
    describeNodeBreaks(fixture);
    describeSecondaryRange(fixture);
  },
});

/** Defines tests for custom networking: pods have addresses in a VPC range, but the peer has no route to that range. */
function describeSecondaryRange({ lab, doctor, isReached }: DoctorFixture<AwsLab>): void {
  describe('pods in a secondary VPC range to which the peer has no route', () => {
    let restore: () => void;
    beforeAll(() => {
      const { aws, connection, networks } = lab();
      const vpc = aws.state.vpcs.get(connection.node.subnet.vpcId);
      if (!vpc) throw new Error('The node is not in a VPC');
      const { cidrs } = vpc;
      const { requesterVpcInfo } = connection.peering;
      vpc.cidrs = [...cidrs, networks.topology.node.pods.range];
      // If a peering has no CIDR ranges, doctor uses those of the VPC.
      connection.peering.requesterVpcInfo = { vpcId: connection.node.subnet.vpcId };
      restore = () => {
        vpc.cidrs = cidrs;
        if (requesterVpcInfo) connection.peering.requesterVpcInfo = requesterVpcInfo;
      };
    });
    afterAll(() => {
      restore();
    });

    test('need masquerading, and the peer needs a return route only to the range of the node', async () => {
      expect(await isReached()).toBe(true);
      const diagnosis = await doctor();
      expect(checkNamed(diagnosis, 'masquerading')).toMatchObject({ state: 'ok' });
      // Pods with VPC addresses also need steering (docs/environments.md), which the node has not proven.
      expect(diagnosis.broken).toMatchObject({ name: 'proof' });
      expect(checkNamed(diagnosis, 'return-route')).toMatchObject({
        state: 'ok',
        evidence: [expect.stringContaining('172.20.0.0/16')],
      });
    });

    test('need masquerading even if the config does not request it, and the fix changes peermasq.yaml', async () => {
      await iptables(lab(), '-D', 'POSTROUTING', '-m', 'comment', '--comment', 'peermasq', '-j', 'PEERMASQ');
      const { broken, checks } = await doctor(undefined, { masquerade: '' });
      await iptables(lab(), '-I', 'POSTROUTING', '-m', 'comment', '--comment', 'peermasq', '-j', 'PEERMASQ');
      expect(checks.filter(({ state }) => state === 'broken').map(({ name }) => name)).toEqual([
        'masquerading',
      ]);
      expect(broken?.evidence.join(' ')).toContain('has no route to 10.244.0.10');
      expect(broken?.fix).toMatch(
        /^Add a cidr entry for 10\.0\.\d+\.\d+ to masquerade in peermasq\.yaml, then: npx peermasq backfill/,
      );
    });
  });
}

/**
 * Saves the state of the connection.
 * @returns a function that restores the state
 */
function saveState({ peering, node, peer }: LabConnection): () => void {
  const { status } = peering;
  const sides = [node, peer].map((side) => ({
    side,
    routes: [...side.table.routes],
    egress: [...side.group.egress],
    ingress: [...side.group.ingress],
    entries: [...side.acl.entries],
  }));
  return () => {
    peering.status = status;
    for (const { side, routes, egress, ingress, entries } of sides) {
      side.table.routes = routes;
      side.group.egress = egress;
      side.group.ingress = ingress;
      side.acl.entries.splice(0, side.acl.entries.length, ...entries);
    }
  };
}
