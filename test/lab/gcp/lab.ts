import { startComputeApi } from './compute';
import { startMetadataServer, type MetadataServer } from './metadata';
import type { Address } from './server';
import { makeGoogleCloud, type GoogleCloud, type Vm } from './state';

export interface GoogleCloudLab {
  readonly cloud: GoogleCloud;
  /** What a process needs in its environment so that the official clients end up here. */
  readonly env: Readonly<Record<'PEERMASQ_COMPUTE_ENDPOINT' | 'GCE_METADATA_HOST', string>>;
  /** The metadata server of one VM; the lab closes it. */
  metadataServer(vm: Vm, address?: Address): Promise<MetadataServer>;
  close(): Promise<void>;
}

/** A Google Cloud on loopback: the Compute API, and the metadata server that a function has. */
export async function openGoogleCloud(): Promise<GoogleCloudLab> {
  const cloud = makeGoogleCloud();
  const api = await startComputeApi(cloud);
  const identity = await startMetadataServer(cloud, undefined);
  const servers = [api, identity];
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
