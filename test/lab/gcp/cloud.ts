import { startComputeApi } from './compute';
import { startMetadataServer, type MetadataServer } from './metadata-server';
import type { ListenAddress, ServerHandle } from '../http-server';
import { makeGcpState, type GcpState, type LabVm } from './state';

export interface LocalGcp {
  readonly cloud: GcpState;
  /** What a process needs in its environment so that the official clients end up here. */
  readonly env: Readonly<Record<'PEERMASQ_COMPUTE_ENDPOINT' | 'GCE_METADATA_HOST', string>>;
  /** The metadata server of one VM; the lab closes it. */
  metadataServer(vm: LabVm, address?: ListenAddress): Promise<MetadataServer>;
  close(): Promise<void>;
}

/** Each lab of this process is where the one before was, so that the clients of this process find it. */
const preferredPorts = { api: 0, identity: 0 };

async function startOnPreferredPort<S extends ServerHandle>(
  which: keyof typeof preferredPorts,
  start: (address: ListenAddress) => Promise<S>,
): Promise<S> {
  // Where another lab of this process is still open, its port is taken.
  const server = await start({ port: preferredPorts[which] }).catch(() => start({}));
  preferredPorts[which] = Number(server.address.split(':')[1]);
  return server;
}

/** A Google Cloud on loopback: the Compute API, and the metadata server that a function has. */
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
