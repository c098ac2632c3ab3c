import { beforeAll, describe, expect, test } from '@jest/globals';
import { composeStartupScript } from '../../../shared/gcp/deliver/startup-script';
import {
  node as nodeOfProject,
  openProject,
  serveMetadata,
  type DemoProject,
} from '../../lab/demo/gcp-project';
import { bootGceNode } from '../../lab/gcp/startup-scripts-service';
import { addVm, setMetadata, type LabVm } from '../../lab/gcp/state';
import { buildNetworks } from '../../lab/networks';
import { gcpPeering } from '../../lab/topologies';
import { checkNamed, describeDoctor, type DoctorFixture, type DoctorLab } from './describe-doctor';
import { nodeProgram, nodeProgramFile } from '../../lab/node-program';

interface GcpLab extends DoctorLab {
  readonly project: DemoProject;
  readonly vm: LabVm;
}

async function open(): Promise<GcpLab> {
  const networks = await buildNetworks(gcpPeering);
  const project = await openProject(networks);
  Object.assign(process.env, project.lab.env, { PEERMASQ_PROGRAM: nodeProgramFile });
  const started = new Date().toISOString();
  const vm = addVm(project.cloud, {
    ...nodeOfProject,
    creationTimestamp: started,
    lastStartTimestamp: started,
  });
  await serveMetadata(project, vm);
  return {
    project,
    vm,
    networks,
    options: { config: project.config, cloud: 'gcp', project: [vm.project], stage: 'dev', timeout: 60 },
    node: vm.id,
    peermasq: project.peermasq,
    writeConfig: (text) => project.home.write('other.yaml', text),
    // Installs the watcher before the first rule set, as on nodes for which Terraform has seeded the project's
    // metadata.
    fix: async () => {
      setMetadata(project.cloud, vm, 'startup-script', composeStartupScript(undefined));
      setMetadata(project.cloud, vm, 'peermasq-program', nodeProgram);
      await bootGceNode(networks.node, { metadataHost: networks.managementAddress });
      const { status, stderr } = await project.peermasq(['backfill', '--yes']);
      if (status !== 0) throw new Error(stderr);
    },
    close: async () => {
      await project.close();
      await networks.close();
    },
  };
}

/** Returns a `breakIt` function. Its change is undone by restoring the networks and firewalls. */
const change =
  (breakIt: (cloud: DemoProject['cloud']) => void) =>
  ({ project: { cloud } }: GcpLab) => {
    const { networks, firewalls } = cloud;
    const before = structuredClone({ networks, firewalls });
    breakIt(cloud);
    return () => Object.assign(cloud, before);
  };

const networkOf = ({ networks }: DemoProject['cloud'], index: 0 | 1) => {
  const network = networks[index];
  if (!network) throw new Error(`The lab has no network ${index}`);
  return network;
};

/** Simulates a peering that was created on one side only and therefore has no routes. */
const makePeeringPending = (cloud: DemoProject['cloud'], missing: 0 | 1) => {
  networkOf(cloud, missing).peerings = [];
  for (const network of [networkOf(cloud, 0), networkOf(cloud, 1)]) {
    network.routes = {};
    for (const peering of network.peerings) peering.state = 'INACTIVE';
  }
};

describeDoctor<GcpLab>('Google Cloud', {
  open,
  cloudBreaks: [
    {
      title: 'a peering that was created on one side only',
      breakIt: change((cloud) => {
        makePeeringPending(cloud, 1);
      }),
      check: 'peering',
      fix: 'gcloud compute networks peerings create',
    },
    {
      title: 'no route to the peer',
      breakIt: change((cloud) => {
        networkOf(cloud, 0).routes = {};
      }),
      check: 'forward-route',
      fix: 'gcloud compute',
    },
    {
      title: 'no route back to the node',
      breakIt: change((cloud) => {
        networkOf(cloud, 1).routes = {};
      }),
      check: 'return-route',
      fix: 'gcloud compute networks peerings list-routes to-frontend',
    },
    {
      title: "the node's firewall denies egress",
      breakIt: change((cloud) => {
        cloud.firewalls.push({
          project: nodeOfProject.project,
          name: 'no-egress',
          network: 'vpc-b',
          direction: 'EGRESS',
          denied: [{ IPProtocol: 'all' }],
          destinationRanges: ['10.0.0.0/8'],
        });
      }),
      check: 'node-firewall',
      fix: 'gcloud compute firewall-rules create',
    },
    {
      title: "the peer's firewall allows no ingress",
      breakIt: change((cloud) => {
        cloud.firewalls = [];
      }),
      check: 'peer-firewall',
      fix: 'gcloud compute firewall-rules create',
    },
  ],
  describeMore: ({ lab, doctor }) => {
    describeVpcNative({ lab, doctor });
  },
});

function describeVpcNative({ lab, doctor }: Pick<DoctorFixture<GcpLab>, 'lab' | 'doctor'>): void {
  describe('a VPC-native cluster', () => {
    beforeAll(() => {
      const { vm, project } = lab();
      const [subnet] = project.cloud.subnetworks;
      const [nic] = vm.networkInterfaces;
      if (!subnet || !nic) throw new Error('no subnet');
      // As on a node to which no rule set was pushed.
      setMetadata(project.cloud, vm, 'peermasq-ruleset', undefined);
      subnet.secondaryIpRanges = [{ rangeName: 'pods', ipCidrRange: '10.132.0.0/14' }];
      nic.aliasIpRanges = [{ ipCidrRange: '10.132.0.0/24', subnetworkRangeName: 'pods' }];
      const peer = networkOf(project.cloud, 1);
      peer.routes['to-frontend/europe-west1']?.push({
        destRange: '10.132.0.0/14',
        imported: true,
        type: 'SUBNET_PEERING_ROUTE',
      });
      const [allowed] = project.cloud.firewalls;
      if (!allowed) throw new Error('The lab has no firewall rule');
      project.cloud.firewalls.push({
        ...allowed,
        name: 'allow-pods',
        sourceRanges: ['10.132.0.0/14'],
      });
    });

    test('needs no masquerading to a subnet of the peer, and the verdict states this', async () => {
      const { checks, verdict, broken } = await doctor();
      expect(checks.find(({ name }) => name === 'masquerading')).toMatchObject({ state: 'not-needed' });
      expect(verdict).toContain(
        'Masquerading is not needed: Peer to-backend has routes to 10.132.0.10: its subnet 10.193.0.0/16 and 10.132.0.0/14 are exchanged over the peering.',
      );
      expect(broken).toBeNull();
    });

    test("needs masquerading to a range that is listed in the config, and doctor checks the node's proof", async () => {
      const diagnosis = await doctor(undefined, { masquerade: '{cidr: 10.193.0.0/16, name: backend}' });
      // The masquerade rules from earlier tests are still in the kernel.
      const masquerading = checkNamed(diagnosis, 'masquerading');
      expect(masquerading).toMatchObject({ state: 'ok' });
      expect(masquerading?.evidence).toContain('peermasq.yaml masquerades to 10.193.0.0/16 (backend).');
      expect(diagnosis.broken).toMatchObject({
        name: 'proof',
        fix: expect.stringContaining('npx peermasq backfill'),
      });
    });

    test('needs masquerading to a range behind the peer, and doctor reports that it cannot check the network there', async () => {
      const { project } = lab();
      networkOf(project.cloud, 0).routes['to-backend/europe-west1']?.push({
        destRange: '10.50.0.0/16',
        imported: true,
        type: 'DYNAMIC_PEERING_ROUTE',
      });
      const diagnosis = await doctor(undefined, { to: '10.50.0.9:443' });
      expect(checkNamed(diagnosis, 'masquerading')).toMatchObject({ state: 'broken' });
      expect(checkNamed(diagnosis, 'return-route')).toMatchObject({
        state: 'unknown',
        evidence: [
          expect.stringContaining('10.50.0.0/16 is behind network'),
          expect.stringContaining('10.209.0.0/16'),
        ],
      });
    });
  });
}
