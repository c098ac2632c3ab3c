// Imports one module per client, because loading the whole package would take more than twice as long.
import { InstancesClient } from '@google-cloud/compute/build/src/v1/instances_client';
import { NetworksClient } from '@google-cloud/compute/build/src/v1/networks_client';
import { RoutersClient } from '@google-cloud/compute/build/src/v1/routers_client';
import { RoutesClient } from '@google-cloud/compute/build/src/v1/routes_client';
import { SubnetworksClient } from '@google-cloud/compute/build/src/v1/subnetworks_client';
import { ZoneOperationsClient } from '@google-cloud/compute/build/src/v1/zone_operations_client';
import { lazy, memoize } from '../../core/util/functional';
import { limitAndCountCalls } from './call';

/**
 * The Compute Engine clients. Each client is created on first use, because creating a client takes tens of
 * milliseconds.
 */
export interface Clients {
  instances(): Promise<InstancesClient>;
  networks(): Promise<NetworksClient>;
  routers(): Promise<RoutersClient>;
  routes(): Promise<RoutesClient>;
  subnetworks(): Promise<SubnetworksClient>;
  zoneOperations(): Promise<ZoneOperationsClient>;
  /** Creates a client that is excluded from the functions' bundles. */
  other<Client>(make: new (options: SharedOptions) => Client): Promise<Client>;
  /** The project to which the credentials belong. */
  project(): Promise<string>;
}

type SharedOptions = ReturnType<typeof optionsFor> & { readonly auth: InstancesClient['auth'] };

/**
 * The environment variable that replaces Google's endpoint with a plain HTTP endpoint, such as
 * `http://127.0.0.1:8080`.
 */
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

const clientsForEndpoint = memoize((endpoint: string) => makeClients(optionsFor(endpoint)));

/** Returns the clients of this process, which share one access token. */
export const getClients = (): Clients => clientsForEndpoint(process.env[endpointVariable] ?? '');

function makeClients(options: ReturnType<typeof optionsFor>): Clients {
  const first = lazy(() => {
    const client = new InstancesClient(options);
    limitAndCountCalls(client.auth);
    return client;
  });
  // Without this check, a client without credentials would end the process with an unhandled rejection.
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
