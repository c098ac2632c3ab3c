import { startComputeApi } from './compute';
import { startMetadataServer, type MetadataServer } from './metadata';
import type { Address, Server } from './server';
import { makeGoogleCloud, type GoogleCloud, type Vm } from './state';

export interface GoogleCloudLab {
  readonly cloud: GoogleCloud;
  /** What a process needs in its environment so that the official clients end up here. */
  readonly env: Readonly<Record<'PEERMASQ_COMPUTE_ENDPOINT' | 'GCE_METADATA_HOST', string>>;
  /** The metadata server of one VM; the lab closes it. */
  metadataServer(vm: Vm, address?: Address): Promise<MetadataServer>;
  close(): Promise<void>;
}

/** Each lab of this process is where the one before was, so that the clients of this process find it. */
const usualPorts = { api: 0, identity: 0 };

async function startAt<S extends Server>(
  which: keyof typeof usualPorts,
  start: (address: Address) => Promise<S>,
): Promise<S> {
  // Where another lab of this process is still open, its port is taken.
  const server = await start({ port: usualPorts[which] }).catch(() => start({}));
  usualPorts[which] = Number(server.address.split(':')[1]);
  return server;
}

/** A Google Cloud on loopback: the Compute API, and the metadata server that a function has. */
export async function openGoogleCloud(): Promise<GoogleCloudLab> {
  const cloud = makeGoogleCloud();
  const api = await startAt('api', (address) => startComputeApi(cloud, address));
  const identity = await startAt('identity', (address) => startMetadataServer(cloud, undefined, address));
  const servers: Server[] = [api, identity];
  return {
    cloud,
    env: {
      PEERMASQ_COMPUTE_ENDPOINT: `http://${api.address}`,
      GCE_METADATA_HOST: identity.address,
    },
    metadataServer: async (vm, address) => {
      const server = await startMetadataServer(cloud, vm, address);
      servers.push(server);
      return server;
    },
    close: async () => {
      await Promise.all(servers.map((server) => server.close()));
    },
  };
}
