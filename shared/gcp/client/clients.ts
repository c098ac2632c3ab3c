// One module for each client: the package as a whole takes more than twice as long to load.
import { InstancesClient } from '@google-cloud/compute/build/src/v1/instances_client';
import { NetworksClient } from '@google-cloud/compute/build/src/v1/networks_client';
import { RoutersClient } from '@google-cloud/compute/build/src/v1/routers_client';
import { RoutesClient } from '@google-cloud/compute/build/src/v1/routes_client';
import { SubnetworksClient } from '@google-cloud/compute/build/src/v1/subnetworks_client';
import { ZoneOperationsClient } from '@google-cloud/compute/build/src/v1/zone_operations_client';
import type { Deadline } from '../../core/cloud';
import { limitAndCountCalls } from './api-calls';

/** The Compute Engine clients, each made when it is first needed: making one takes tens of milliseconds. */
export interface Clients {
  instances(): Promise<InstancesClient>;
  networks(): Promise<NetworksClient>;
  routers(): Promise<RoutersClient>;
  routes(): Promise<RoutesClient>;
  subnetworks(): Promise<SubnetworksClient>;
  zoneOperations(): Promise<ZoneOperationsClient>;
  /** One that the functions do not carry with them. */
  other<Client>(make: new (options: SharedOptions) => Client): Promise<Client>;
  /** The project that the credentials belong to. */
  project(): Promise<string>;
}

type SharedOptions = ReturnType<typeof optionsFor> & { readonly auth: InstancesClient['auth'] };

/** A plain HTTP endpoint, `http://127.0.0.1:8080`, in the place of Google's. */
const endpointVariable = 'PEERMASQ_COMPUTE_ENDPOINT';

function optionsFor(endpoint: string) {
  if (endpoint === '') return { fallback: true };
  const { protocol, hostname, port } = new URL(endpoint);
  return {
    fallback: true,
    apiEndpoint: hostname,
    protocol: protocol.replace(':', ''),
    port: Number(port || 80),
  };
}

const clientsByKey = new Map<string, Clients>();

/** The clients of this process. One set serves all, with one access token. */
export function getClients(): Clients {
  const endpoint = process.env[endpointVariable] ?? '';
  const clients = clientsByKey.get(endpoint) ?? makeClients(optionsFor(endpoint));
  clientsByKey.set(endpoint, clients);
  return clients;
}

function makeClients(options: ReturnType<typeof optionsFor>): Clients {
  const lazy = <T>(make: () => T): (() => T) => {
    let made: T | undefined;
    return () => (made ??= make());
  };
  const first = lazy(() => {
    const client = new InstancesClient(options);
    limitAndCountCalls(client.auth);
    return client;
  });
  // A client without credentials ends the process (an unhandled rejection); asking first gives an error.
  const withCredentials =
    <T>(make: () => T) =>
    async (): Promise<T> => {
      await first().auth.getClient();
      return make();
    };
  const shared = (): SharedOptions => ({ ...options, auth: first().auth });
  return {
    instances: withCredentials(first),
    networks: withCredentials(lazy(() => new NetworksClient(shared()))),
    routers: withCredentials(lazy(() => new RoutersClient(shared()))),
    routes: withCredentials(lazy(() => new RoutesClient(shared()))),
    subnetworks: withCredentials(lazy(() => new SubnetworksClient(shared()))),
    zoneOperations: withCredentials(lazy(() => new ZoneOperationsClient(shared()))),
    other: (make) => withCredentials(() => new make(shared()))(),
    project: async () => (await withCredentials(first)()).getProjectId(),
  };
}

const callLimitMs = 30_000;

/**
 * One attempt within the time left: what is tried again, and when, is decided in errors.ts. Lists are read
 * through async iterables, which warn unless told not to paginate by themselves.
 */
export function callOptions(deadline: Deadline) {
  const timeout = Math.min(callLimitMs, Math.max(1, deadline - Date.now()));
  return { timeout, retry: { retryCodes: [] }, autoPaginate: false };
}

/** At most `limit` at a time, results in the order of the items. */
export async function mapLimited<T, R>(
  items: readonly T[],
  map: (item: T) => Promise<R>,
  limit = 20,
): Promise<R[]> {
  const results: R[] = [];
  const queue = items.entries();
  const work = async () => {
    for (const [index, item] of queue) results[index] = await map(item);
  };
  await Promise.all(Array.from({ length: limit }, work));
  return results;
}
