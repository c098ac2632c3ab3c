import { startComputeApi } from './compute';
import { startMetadataServer, type MetadataServer } from './metadata-server';
import type { ListenAddress, ServerHandle } from '../http-server';
import { makeGcpState, type GcpState, type LabVm } from './state';

export interface LocalGcp {
  readonly cloud: GcpState;
  /** Environment variables that make the official clients use this cloud. */
  readonly env: Readonly<Record<'PEERMASQ_COMPUTE_ENDPOINT' | 'GCE_METADATA_HOST', string>>;
  /** Starts a metadata server for one VM. Closing the lab also closes the server. */
  metadataServer(vm: LabVm, address?: ListenAddress): Promise<MetadataServer>;
  close(): Promise<void>;
}

/** The ports of the previous lab in this process. A new lab reuses them, because the process caches its API clients. */
const preferredPorts = { api: 0, identity: 0 };

async function startOnPreferredPort<S extends ServerHandle>(
  which: keyof typeof preferredPorts,
  start: (address: ListenAddress) => Promise<S>,
): Promise<S> {
  // The port is already in use if another lab in this process is still open.
  const server = await start({ port: preferredPorts[which] }).catch(() => start({}));
  preferredPorts[which] = Number(server.address.split(':')[1]);
  return server;
}

/** Starts a local Google Cloud: the Compute API, and the metadata server for the functions. */
export async function startLocalGcp(): Promise<LocalGcp> {
  const cloud = makeGcpState();
  const api = await startOnPreferredPort('api', (address) => startComputeApi(cloud, address));
  const identity = await startOnPreferredPort('identity', (address) =>
    startMetadataServer(cloud, undefined, address),
  );
  const servers: ServerHandle[] = [api, identity];
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
