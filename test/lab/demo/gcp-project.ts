import { setTimeout as delay } from 'node:timers/promises';
import { bootGceNode } from '../gcp/boot';
import { startFunction, type RunningFunction } from '../gcp/functions';
import { openGoogleCloud, type GoogleCloudLab } from '../gcp/lab';
import { networkUrl, subnetworkUrl, type GoogleCloud, type Network, type Vm } from '../gcp/state';
import { openHome, type Home } from '../command-line';
import type { Networks } from '../networks';
import type { LocalCloud, Say } from './scenario';

const project = 'identity-nonprod';
const cluster = 'frontend-cluster';
const [region, zone] = ['europe-west1', 'europe-west1-c'];
/** From RUNNING until a VM's kernel and systemd have come as far as the startup script. */
const bootsWithinMs = 2_000;

/** A node of the cluster; what is of the moment is left out. */
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
} satisfies Partial<Vm>;

/** The project of a scenario: its networks, the peering, and the functions. */
export interface Project {
  readonly lab: GoogleCloudLab;
  readonly cloud: GoogleCloud;
  readonly networks: Networks;
  /** The config's file. */
  readonly config: string;
  readonly home: Home;
  readonly peermasq: LocalCloud['peermasq'];
  /** Starts a function of dist/gcp; the project closes it. */
  readonly start: (target: 'nodeJoined' | 'backfill') => Promise<RunningFunction>;
  readonly close: () => Promise<void>;
}

/** @param more lines of the cluster's config */
export async function openProject(networks: Networks, more = ''): Promise<Project> {
  const lab = await openGoogleCloud();
  const home = openHome({ ...lab.env, PEERMASQ_PROJECTS: project });
  const config = home.write('peermasq.yaml', configFor(networks) + more);
  addNetworks(lab, networks);
  const started: RunningFunction[] = [];
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

/** Both sides, as the write-up had them: everything in the clouds is as it should be. */
function addNetworks({ cloud }: GoogleCloudLab, { topology }: Networks): void {
  const [near, far] = topology.networks;
  if (!near || !far) throw new Error(`${topology.name} has no two networks`);
  cloud.networks.push(
    peeredNetwork(near.name, 'to-backend', far),
    peeredNetwork(far.name, 'to-frontend', near),
  );
  for (const { name, range } of [near, far])
    cloud.subnetworks.push({ project, region, name, network: name, ipCidrRange: range });
  const [network, port] = [far.name, String(topology.peer.port)];
  cloud.forwardingRules.push({
    ...{ project, region, network, name: topology.peer.name, IPAddress: topology.peer.address },
    ...{ IPProtocol: 'TCP', ports: [port], loadBalancingScheme: 'INTERNAL' },
  });
  cloud.firewalls.push({
    ...{ project, network, name: 'allow-frontend', direction: 'INGRESS' },
    ...{ allowed: [{ IPProtocol: 'tcp', ports: [port] }], sourceRanges: [near.range] },
  });
}

const peeredNetwork = (name: string, peering: string, other: { name: string; range: string }): Network => ({
  project,
  name,
  peerings: [{ name: peering, state: 'ACTIVE', network: networkUrl(project, other.name) }],
  routes: {
    [`${peering}/${region}`]: [{ destRange: other.range, imported: true, type: 'SUBNET_PEERING_ROUTE' }],
  },
});

/** The VM as its own machine: reaches its metadata server, and boots. */
export async function serveMetadata({ lab, networks }: Project, vm: Vm): Promise<void> {
  await lab.metadataServer(vm, { host: networks.managementAddress, port: 80 });
}

/** @returns when the startup script began: milliseconds since the epoch */
export async function boot({ networks }: Project, say: Say): Promise<number> {
  await delay(bootsWithinMs);
  const beganAt = Date.now();
  const finished = await bootGceNode(networks.node, { metadataHost: networks.managementAddress });
  say(
    'boot',
    finished ? `the startup script ended with ${finished.status}` : 'the node has no startup script',
  );
  return beganAt;
}

/** What the functions asked the cloud since it had answered `before` calls, and the routes that they were told. */
export function lookedUp({ cloud }: Project, before: number): string[] {
  const calls = new Set(cloud.calls.slice(before).map((call) => call.replace('compute.', '')));
  // The network of the nodes alone: of the other one nobody asked.
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
