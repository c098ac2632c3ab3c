import { setTimeout as delay } from 'node:timers/promises';
import { bootGceNode } from '../gcp/startup-scripts-service';
import { startFunction, type LabFunction } from '../gcp/function';
import { startLocalGcp, type LocalGcp } from '../gcp/cloud';
import { networkUrl, subnetworkUrl, type GcpState, type LabNetwork, type LabVm } from '../gcp/state';
import { openCliHome, type CliHome } from '../cli-home';
import type { Networks } from '../networks';
import type { DemoCloud, Print } from './scenario';

const project = 'identity-nonprod';
const cluster = 'frontend-cluster';
const [region, zone] = ['europe-west1', 'europe-west1-c'];
/** The delay from the state RUNNING until the VM has booted and runs its startup script. */
const bootMs = 2_000;

/** The fields of a node in the cluster that do not change. */
export const node = {
  project,
  zone,
  name: 'gke-frontend-cluster-default-pool-d65237bb-1c6s',
  labels: { 'goog-k8s-cluster-name': cluster, 'goog-gke-node': '' },
  networkInterfaces: [
    {
      network: networkUrl(project, 'vpc-b'),
      subnetwork: subnetworkUrl(project, region, 'vpc-b'),
      networkIP: '10.209.0.2',
    },
  ],
} satisfies Partial<LabVm>;

/** The Google Cloud project in a scenario: its networks, the peering, and the functions. */
export interface DemoProject {
  readonly lab: LocalGcp;
  readonly cloud: GcpState;
  readonly networks: Networks;
  /** The path of the config file. */
  readonly config: string;
  readonly home: CliHome;
  readonly peermasq: DemoCloud['peermasq'];
  /** Starts a function from dist/gcp. The function is stopped when the project is closed. */
  readonly start: (target: 'nodeJoined' | 'backfill') => Promise<LabFunction>;
  readonly close: () => Promise<void>;
}

/**
 * Opens the project.
 * @param more additional config lines for the cluster
 */
export async function openProject(networks: Networks, more = ''): Promise<DemoProject> {
  const lab = await startLocalGcp();
  const home = openCliHome({ ...lab.env, PEERMASQ_PROJECTS: project });
  const config = home.write('peermasq.yaml', configFor(networks) + more);
  addNetworks(lab, networks);
  const started: LabFunction[] = [];
  const env = {
    ...lab.env,
    PEERMASQ_CONFIG: config,
    PEERMASQ_PROJECTS: project,
    PEERMASQ_INVOCATION_SECONDS: '120',
  };
  return {
    lab,
    cloud: lab.cloud,
    networks,
    config,
    home,
    peermasq: (args) => home.peermasq([...args, '--cloud', 'gcp']),
    start: async (target) => {
      const running = await startFunction(target, target === 'backfill' ? 'http' : 'cloudevent', env);
      started.push(running);
      return running;
    },
    close: async () => {
      await Promise.all(started.map((running) => running.close()));
      await lab.close();
      home.close();
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

/** Adds the scenario's two networks, with correct peering, routes and firewalls. */
function addNetworks({ cloud }: LocalGcp, { topology }: Networks): void {
  const [local, remote] = topology.networks;
  if (!local || !remote) throw new Error(`${topology.name} does not have two networks`);
  cloud.networks.push(
    peeredNetwork(local.name, 'to-backend', remote),
    peeredNetwork(remote.name, 'to-frontend', local),
  );
  for (const { name, range } of [local, remote])
    cloud.subnetworks.push({ project, region, name, network: name, ipCidrRange: range });
  const [network, port] = [remote.name, String(topology.peer.port)];
  cloud.forwardingRules.push({
    ...{ project, region, network, name: topology.peer.name, IPAddress: topology.peer.address },
    ...{ IPProtocol: 'TCP', ports: [port], loadBalancingScheme: 'INTERNAL' },
  });
  cloud.firewalls.push({
    ...{ project, network, name: 'allow-frontend', direction: 'INGRESS' },
    ...{ allowed: [{ IPProtocol: 'tcp', ports: [port] }], sourceRanges: [local.range] },
  });
}

const peeredNetwork = (
  name: string,
  peering: string,
  other: { name: string; range: string },
): LabNetwork => ({
  project,
  name,
  peerings: [{ name: peering, state: 'ACTIVE', network: networkUrl(project, other.name) }],
  routes: {
    [`${peering}/${region}`]: [{ destRange: other.range, imported: true, type: 'SUBNET_PEERING_ROUTE' }],
  },
});

/** Connects the VM's machine to its metadata server. */
export async function serveMetadata({ lab, networks }: DemoProject, vm: LabVm): Promise<void> {
  await lab.metadataServer(vm, { host: networks.managementAddress, port: 80 });
}

/**
 * Boots the VM.
 * @returns the time at which the startup script began, in milliseconds since the epoch
 */
export async function boot({ networks }: DemoProject, print: Print): Promise<number> {
  await delay(bootMs);
  const beganAt = Date.now();
  const finished = await bootGceNode(networks.node, { metadataHost: networks.managementAddress });
  print(
    'boot',
    finished ? `the startup script exited with ${finished.status}` : 'the node has no startup script',
  );
  return beganAt;
}

/** Lists the API calls that the functions made after the first `before` calls, and the routes that they found. */
export function discovery({ cloud }: DemoProject, before: number): string[] {
  const calls = new Set(cloud.calls.slice(before).map((call) => call.replace('compute.', '')));
  // Shows only the routes of the nodes' network, because the functions do not read the other side.
  const routes = Object.entries(cloud.networks[0]?.routes ?? {});
  return [
    [...calls].join(', '),
    ...routes.flatMap(([peering, all]) =>
      all.map(({ destRange }) => `${destRange} through ${peering.split('/')[0] ?? ''}`),
    ),
  ];
}

export const jsonLines = (log: readonly unknown[]): string =>
  log.map((line) => JSON.stringify(line)).join('\n');
