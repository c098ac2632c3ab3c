import { parseAddress } from '../../../shared/core/model/cidr';
import type { Check, CheckName } from '../../../shared/core/doctor/check';
import { getClients } from '../../../shared/gcp/client/clients';
import { makeNodes } from '../../../shared/gcp/discover/nodes';
import { makeReach } from '../../../shared/gcp/reach/reach';
import { startLocalGcp } from '../../lab/gcp/cloud';
import {
  addVm,
  networkUrl,
  subnetworkUrl,
  type LabFirewall,
  type GcpState,
  type LabNetwork,
  type LabVm,
} from '../../lab/gcp/state';

export const localProject = 'identity-nonprod';
export const peerProject = 'backend-prod';
export const region = 'europe-west1';

/** The firewall rule in the peer's network. */
export const allowFrontend: LabFirewall = {
  project: peerProject,
  name: 'allow-frontend',
  network: 'vpc-a',
  direction: 'INGRESS',
  allowed: [{ IPProtocol: 'tcp', ports: ['32000-32767'] }],
  sourceRanges: ['10.209.0.0/16'],
};

export interface Endpoints {
  readonly source?: string;
  readonly destination?: string;
  readonly port?: number;
}

/** The lab has a node in network vpc-b, and an internal load balancer in network vpc-a at 10.193.0.3:32191. */
export interface ReachLab {
  readonly cloud: GcpState;
  readonly node: LabVm;
  /** The node's network and the peer's network. */
  readonly local: LabNetwork;
  readonly peer: LabNetwork;
  /** Restores the working connection. */
  reset(): void;
  runChecks(endpoints?: Endpoints): Promise<readonly Check[]>;
  runCheck(name: CheckName, endpoints?: Endpoints): Promise<Check>;
  firstBroken(endpoints?: Endpoints): Promise<Check | undefined>;
  readonly close: () => Promise<void>;
}

export async function openReachLab(): Promise<ReachLab> {
  const gcp = await startLocalGcp();
  const { cloud } = gcp;
  Object.assign(process.env, gcp.env);
  let connection = resetCloud(cloud);
  // The first call loads the clients, which may take longer than a test's timeout.
  await makeNodes(getClients(), { projects: [localProject], isUpToDate: () => true }).list(
    ['*'],
    inSeconds(60),
  );
  const lab: ReachLab = {
    cloud,
    get node() {
      return connection.node;
    },
    get local() {
      return connection.local;
    },
    get peer() {
      return connection.peer;
    },
    reset() {
      connection = resetCloud(cloud);
    },
    close: () => gcp.close(),
    async runChecks({ source = '10.209.0.2', destination = '10.193.0.3', port = 32191 } = {}) {
      const { project, zone, id } = connection.node;
      const ref = { cloud: 'gcp', project, zone, id } as const;
      const [node] = await makeNodes(getClients(), { projects: [], isUpToDate: () => true }).get(
        [ref],
        inSeconds(10),
      );
      if (!node) throw new Error('The lab has no such node');
      const addresses = { source: parseAddress(source), destination: parseAddress(destination) };
      return makeReach(getClients()).checks({ node, ...addresses, port }, inSeconds(10));
    },
    async runCheck(name, endpoints) {
      const check = (await lab.runChecks(endpoints)).find((one) => one.name === name);
      if (!check) throw new Error(`There is no check ${name}`);
      return check;
    },
    async firstBroken(endpoints) {
      return (await lab.runChecks(endpoints)).find(({ state }) => state === 'broken');
    },
  };
  return lab;
}

const inSeconds = (seconds: number) => Date.now() + seconds * 1_000;

function resetCloud(cloud: GcpState) {
  const local = makeNetwork(localProject, 'vpc-b', {
    name: 'to-backend',
    network: networkUrl(peerProject, 'vpc-a'),
    destRange: '10.193.0.0/16',
  });
  const peer = makeNetwork(peerProject, 'vpc-a', {
    name: 'to-frontend',
    network: networkUrl(localProject, 'vpc-b'),
    destRange: '10.209.0.0/16',
  });
  Object.assign(cloud, {
    projects: {
      [localProject]: { number: '1', metadata: [] },
      [peerProject]: { number: '2', metadata: [] },
    },
    vms: [],
    networks: [local, peer],
    subnetworks: [
      { project: localProject, region, name: 'vpc-b', network: 'vpc-b', ipCidrRange: '10.209.0.0/16' },
      { project: peerProject, region, name: 'vpc-a', network: 'vpc-a', ipCidrRange: '10.193.0.0/16' },
    ],
    routes: [local, peer].map(({ project, name: network }) => ({
      project,
      name: 'default',
      network,
      destRange: '0.0.0.0/0',
      nextHopGateway: `https://www.googleapis.com/compute/v1/projects/${project}/global/gateways/default-internet-gateway`,
    })),
    routers: [],
    firewalls: [{ ...allowFrontend }],
    forwardingRules: [
      {
        project: peerProject,
        region,
        name: 'backend',
        network: 'vpc-a',
        IPAddress: '10.193.0.3',
        IPProtocol: 'TCP',
        loadBalancingScheme: 'INTERNAL',
        ports: ['32191'],
      },
    ],
    injectedErrors: [],
    calls: [],
  } satisfies Partial<GcpState>);
  return { local, peer, node: addNode(cloud) };
}

function makeNetwork(
  project: string,
  name: string,
  peering: { readonly name: string; readonly network: string; readonly destRange: string },
): LabNetwork {
  const { destRange } = peering;
  return {
    project,
    name,
    peerings: [{ name: peering.name, state: 'ACTIVE', network: peering.network }],
    routes: {
      [`${peering.name}/${region}`]: [{ destRange, imported: true, type: 'SUBNET_PEERING_ROUTE' }],
    },
  };
}

const addNode = (cloud: GcpState): LabVm =>
  addVm(cloud, {
    name: 'node-1',
    project: localProject,
    tags: ['frontend'],
    networkInterfaces: [
      {
        network: networkUrl(localProject, 'vpc-b'),
        subnetwork: subnetworkUrl(localProject, region, 'vpc-b'),
        networkIP: '10.209.0.2',
      },
    ],
  });

export const statesOf = (checks: readonly Check[]) => checks.map(({ state }) => state).join(' ');
