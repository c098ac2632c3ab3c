import type { CheckName } from '../../../shared/core/doctor/check';
import { misconfigurations, type LabConnection, type Misconfiguration } from '../../lab/aws/connection';
import { openAccount } from '../../lab/demo/aws-event';
import { buildNetworks } from '../../lab/networks';
import { awsPeering } from '../../lab/topologies';
import { describeDoctor, describeNodeBreaks, type CloudBreak, type DoctorLab } from './describe-doctor';

interface AwsLab extends DoctorLab {
  readonly connection: LabConnection;
}

async function open(): Promise<AwsLab> {
  const networks = await buildNetworks(awsPeering);
  const account = await openAccount(networks, { state: 'running' });
  Object.assign(process.env, account.aws.env);
  const { config, deployment, id, connection, peermasq } = account;
  if (!connection) throw new Error('The peer is not in AWS');
  return {
    networks,
    connection,
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
  describeMore: describeNodeBreaks,
});

/** @returns a function that undoes any change the break tests make */
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
