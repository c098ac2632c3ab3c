import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startFunction, type LabFunction } from '../lab/gcp/function';
import { startLocalGcp } from '../lab/gcp/cloud';
import { runFakeNodes } from '../lab/gcp/fake-node';
import { enableRateLimits, type RateLimits } from '../lab/gcp/rate-limits';
import { addVm, networkUrl, subnetworkUrl, type GcpState, type LabVm } from '../lab/gcp/state';

const project = 'identity-nonprod';
const cluster = 'shop';
const [region, zone] = ['europe-west1', 'europe-west1-c'];
const reportsAfterMs = () => 1_000 + Math.random() * 2_000;

/** Returns the properties of a VM that is a node in the fleet. */
export const fleetNode = () => ({
  project,
  zone,
  labels: { 'goog-k8s-cluster-name': cluster },
  networkInterfaces: [
    { network: networkUrl(project, 'shop-vpc'), subnetwork: subnetworkUrl(project, region, 'shop-vpc') },
  ],
});

/** Adds a node that has been running for an hour. */
export const addFleetNode = (cloud: GcpState, given: Partial<LabVm> = {}): LabVm =>
  addVm(cloud, {
    ...fleetNode(),
    lastStartTimestamp: new Date(Date.now() - 3_600_000).toISOString(),
    ...given,
  });

export interface GcpFleet {
  readonly cloud: GcpState;
  readonly rateLimits: RateLimits;
  readonly running: LabFunction;
  readonly close: () => Promise<void>;
}

/** Starts a local project with a cluster, rate quotas and one deployed function. Each node reports after 1 to 3 s. */
export async function openGcpFleet(target: 'nodeJoined' | 'backfill'): Promise<GcpFleet> {
  const google = await startLocalGcp();
  const { cloud, env } = google;
  addNetwork(cloud);
  runFakeNodes(cloud, reportsAfterMs);
  const folder = mkdtempSync(join(tmpdir(), 'peermasq-bench-'));
  const config = join(folder, 'peermasq.yaml');
  writeFileSync(config, `clusters: {${cluster}: {pods: [10.244.0.0/16], masquerade: [peerings]}}`);
  const running = await startFunction(target, target === 'backfill' ? 'http' : 'cloudevent', {
    ...env,
    PEERMASQ_CONFIG: config,
    PEERMASQ_PROJECTS: project,
    // These are the time limits that infra/gcp sets for the functions.
    PEERMASQ_INVOCATION_SECONDS: target === 'backfill' ? '1800' : '120',
    GOOGLE_CLOUD_PROJECT: project,
  });
  return {
    cloud,
    rateLimits: enableRateLimits(cloud),
    running,
    close: async () => {
      await running.close();
      await google.close();
      rmSync(folder, { recursive: true });
    },
  };
}

function addNetwork({ networks, subnetworks }: GcpState): void {
  const name = 'shop-vpc';
  networks.push({
    project,
    name,
    peerings: [{ name: 'to-backend', state: 'ACTIVE', network: networkUrl(project, 'backend-vpc') }],
    routes: {
      [`to-backend/${region}`]: [
        { destRange: '10.193.0.0/16', imported: true, type: 'SUBNET_PEERING_ROUTE' },
      ],
    },
  });
  subnetworks.push({ project, region, name, network: name, ipCidrRange: '10.209.0.0/16' });
}

/** The API calls of a run. */
export interface GcpCalls {
  readonly all: number;
  readonly byMethod: Readonly<Record<string, number>>;
  /** The number of calls that exceeded a rate quota. */
  readonly callsOverLimit: number;
}

export function countGcpCalls({ cloud: { calls }, rateLimits: { callsOverLimit } }: GcpFleet): GcpCalls {
  const byMethod: Record<string, number> = {};
  for (const call of calls) {
    const method = call.replace('compute.', '');
    byMethod[method] = (byMethod[method] ?? 0) + 1;
  }
  return { all: calls.length, byMethod, callsOverLimit };
}
