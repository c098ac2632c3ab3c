import { wayBreaks, type LabWay, type WayBreak } from '../../lab/aws/way';
import { openAccount } from '../../lab/demo/aws-cloud';
import { buildNetworks } from '../../lab/networks';
import { awsPeering } from '../../lab/topologies';
import { describeDoctor, describeNodeBreaks, type CloudBreak, type DoctorLab } from './doctor';

interface AwsLab extends DoctorLab {
  readonly way: LabWay;
}

async function open(): Promise<AwsLab> {
  const networks = await buildNetworks(awsPeering);
  const account = await openAccount(networks, { state: 'running' });
  Object.assign(process.env, account.aws.env);
  const { config, deployment, id, way, peermasq } = account;
  if (!way) throw new Error('The peer is not in AWS');
  return {
    networks,
    way,
    options: { config, cloud: 'aws', stage: deployment.stage, timeout: 60 },
    node: id,
    peermasq,
    cure: async () => {
      const { status, stderr } = await peermasq(['backfill', '--yes']);
      if (status !== 0) throw new Error(stderr);
    },
    close: async () => {
      await account.close();
      await networks.close();
    },
  };
}

const cures: Readonly<Record<WayBreak, readonly [CloudBreak<AwsLab>[2], string]>> = {
  'peering pending': ['peering', 'aws ec2 accept-vpc-peering-connection'],
  'no route there': ['route-there', 'aws ec2 create-route'],
  'no route back': ['route-back', 'aws ec2 create-route'],
  'group closed at the node': ['firewall-node', 'aws ec2 authorize-security-group-egress'],
  'ACL closed at the node': ['firewall-node', 'aws ec2 create-network-acl-entry'],
  'group closed at the peer': ['firewall-peer', 'aws ec2 authorize-security-group-ingress'],
  'ACL closed at the peer': ['firewall-peer', 'aws ec2 create-network-acl-entry'],
};

describeDoctor(
  'AWS',
  open,
  Object.entries(cures).map(([name, [link, cure]]) => [
    `${name}: ${link}`,
    ({ way }) => {
      const mend = save(way);
      wayBreaks[name as WayBreak](way);
      return mend;
    },
    link,
    cure,
  ]),
  describeNodeBreaks,
);

/** @returns what puts back everything that a break changes */
function save({ peering, node, peer }: LabWay): () => void {
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
