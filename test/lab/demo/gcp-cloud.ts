import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { bootGceNode } from '../gcp/boot';
import { insertEvent } from '../gcp/events';
import { deliver, startFunction, type RunningFunction } from '../gcp/functions';
import { openGoogleCloud, type GoogleCloudLab } from '../gcp/lab';
import { addVm, networkUrl, subnetworkUrl, type Vm } from '../gcp/state';
import type { Networks } from '../networks';
import { inForce, provenIn } from './node-view';
import type { LocalCloud, Pass, Say } from './scenario';

const project = 'identity-nonprod';
const cluster = 'frontend-cluster';
const [region, zone] = ['europe-west1', 'europe-west1-c'];
/** A VM's kernel and systemd take longer than this before the startup script runs. */
const bootsAfterMs = 5_000;

/** The project of a scenario: its networks, the peering, the function, and a node that is about to boot. */
export async function openGcp(networks: Networks): Promise<LocalCloud> {
  const lab = await openGoogleCloud();
  try {
    return await deploy(lab, networks);
  } catch (error) {
    await lab.close();
    throw error;
  }
}

async function deploy(lab: GoogleCloudLab, networks: Networks): Promise<LocalCloud> {
  const folder = mkdtempSync(join(tmpdir(), 'peermasq-gcp-'));
  const config = join(folder, 'peermasq.yaml');
  writeFileSync(config, configFor(networks));
  addNetworks(lab, networks);
  const vm = addNode(lab);
  await lab.metadataServer(vm, { host: networks.managementAddress, port: 80 });
  const joined = await startFunction('nodeJoined', 'cloudevent', { ...lab.env, PEERMASQ_CONFIG: config });
  let deliveries = 0;
  return {
    sendEvent: (say) => sendEvent(lab, joined, networks, vm, ++deliveries === 1 ? 'first' : 'last', say),
    close: async () => {
      await joined.close();
      await lab.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function configFor({ topology: { node, peer } }: Networks): string {
  return `clusters:
  ${cluster}:
    pods: [${node.pods.range}]
    masquerade: [peerings]
    probe: ["${peer.address}:${peer.port}"]
`;
}

function addNetworks({ cloud }: GoogleCloudLab, { topology }: Networks): void {
  const [near, far] = topology.networks;
  if (!near || !far) throw new Error(`${topology.name} has no two networks`);
  cloud.networks.push({
    project,
    name: near.name,
    peerings: [{ name: 'to-backend', state: 'ACTIVE', network: networkUrl(project, far.name) }],
    routes: {
      [`to-backend/${region}`]: [{ destRange: far.range, imported: true, type: 'SUBNET_PEERING_ROUTE' }],
    },
  });
  cloud.subnetworks.push({ project, region, name: near.name, network: near.name, ipCidrRange: near.range });
}

function addNode({ cloud }: GoogleCloudLab): Vm {
  return addVm(cloud, {
    project,
    zone,
    name: 'gke-frontend-cluster-default-pool-d65237bb-1c6s',
    status: 'PROVISIONING',
    labels: { 'goog-k8s-cluster-name': cluster, 'goog-gke-node': '' },
    networkInterfaces: [
      { network: networkUrl(project, 'vpc-b'), subnetwork: subnetworkUrl(project, region, 'vpc-b') },
    ],
  });
}

/** Each insert has two audit log entries; the VM boots after the first. */
async function sendEvent(
  lab: GoogleCloudLab,
  joined: RunningFunction,
  networks: Networks,
  vm: Vm,
  entry: 'first' | 'last',
  say: Say,
): Promise<Pass> {
  const sentAt = Date.now();
  const [calls, logged] = [lab.cloud.calls.length, joined.log.length];
  say('event', `${entry} audit log entry of the insert of ${vm.name}, through Eventarc`);
  const [status] = await Promise.all([
    deliver(joined, insertEvent(vm, entry)),
    entry === 'first' ? boot(vm, networks, say) : undefined,
  ]);
  const log = joined.log.slice(logged);
  if (status >= 300)
    throw new Error(
      `The function answered ${status}:\n${log.map((line) => JSON.stringify(line)).join('\n')}`,
    );
  return {
    ...provenIn(log, sentAt),
    lookedUp: lookedUp(lab, calls),
    rules: await inForce(networks.node),
  };
}

async function boot(vm: Vm, networks: Networks, say: Say): Promise<void> {
  await delay(bootsAfterMs);
  vm.status = 'RUNNING';
  const finished = await bootGceNode(networks.node, { metadataHost: networks.managementAddress });
  say(
    'boot',
    finished ? `the startup script ended with ${finished.status}` : 'the node has no startup script',
  );
}

/** What the function asked the cloud, and the routes that it was told. */
function lookedUp({ cloud }: GoogleCloudLab, before: number): string[] {
  const calls = new Set(cloud.calls.slice(before).map((call) => call.replace('compute.', '')));
  const routes = cloud.networks.flatMap((network) => Object.entries(network.routes));
  return [
    [...calls].join(', '),
    ...routes.flatMap(([peering, all]) =>
      all.map(({ destRange }) => `${destRange} through ${peering.split('/')[0] ?? ''}`),
    ),
  ];
}
