import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openCliHome, type CliHome } from '../../lab/cli-home';
import { startLocalGcp, type LocalGcp } from '../../lab/gcp/cloud';
import { addVm, metadataOf, networkUrl, subnetworkUrl, type LabVm } from '../../lab/gcp/state';

const project = 'identity-nonprod';
const region = 'europe-west1';
let lab: LocalGcp;
let home: CliHome;
let vm: LabVm;

beforeAll(async () => {
  lab = await startLocalGcp();
  home = openCliHome(lab.env);
  home.write('peermasq.yaml', 'clusters: {shop: {pods: [10.132.0.0/14], masquerade: [peerings]}}');
  lab.cloud.networks.push({ project, name: 'vpc-b', peerings: [], routes: {} });
  lab.cloud.subnetworks.push({
    project,
    region,
    name: 'vpc-b',
    network: 'vpc-b',
    ipCidrRange: '10.209.0.0/16',
  });
  vm = addVm(lab.cloud, {
    name: 'gke-1',
    labels: { 'goog-k8s-cluster-name': 'shop' },
    networkInterfaces: [
      {
        network: networkUrl(project, 'vpc-b'),
        subnetwork: subnetworkUrl(project, region, 'vpc-b'),
        networkIP: '10.209.0.2',
      },
    ],
    metadata: [{ key: 'peermasq-program', value: '# peermasq' }],
  });
});
afterAll(async () => {
  await lab.close();
  home.close();
});

test.each(['SIGINT', 'SIGTERM'] as const)(
  'if %s interrupts doctor while it reads the rules, doctor removes its metadata key and exits with 130',
  async (name) => {
    let send: (name: NodeJS.Signals) => void = () => undefined;
    let wasRequested = false;
    const onChange = () => {
      if (wasRequested || metadataOf(vm, 'peermasq-snapshot') === undefined) return;
      wasRequested = true;
      send(name);
    };
    lab.cloud.changes.on('change', onChange);
    const args = ['doctor', '--cloud', 'gcp', '--project', project];
    const { status, stdout, stderr } = await home.peermasq(
      [...args, '--from', '10.132.0.10', '--node', 'gke-1', '--to', '10.193.0.3:80'],
      { onStart: (signal) => (send = signal) },
    );
    lab.cloud.changes.off('change', onChange);
    expect({ status, stdout, wasRequested }).toEqual({ status: 130, stdout: '', wasRequested: true });
    expect(stderr).toContain('Interrupted: cleaning up on the node.');
    expect(metadataOf(vm, 'peermasq-snapshot')).toBeUndefined();
  },
);
