import type { protos } from '@google-cloud/compute';
import { ForwardingRulesClient } from '@google-cloud/compute/build/src/v1/forwarding_rules_client';
import { PermanentError } from '../../core/model/errors';
import type { GcpNodeRef } from '../../core/model/node';
import type { Deadline } from '../../core/cloud';
import { memoize } from '../../core/util/memoize';
import { call } from '../client/call';
import type { Clients } from '../client/clients';
import { undefinedIfNotFound } from '../client/errors';
import { listAll } from '../client/pages';
import type { Instance } from '../discover/instance';
import { makeNetworkInventory } from '../discover/network-inventory';
import { isInNetwork, lastSegment, networkKey, type Network, type NetworkRef } from '../discover/networks';
import type { EffectiveFirewalls } from './firewall-rules';
import { gcloud } from './fix-command';

export type ForwardingRule = protos.google.cloud.compute.v1.IForwardingRule;

/** What whoever asks may not see, and the command that shows it to whoever may. */
export class AccessDenied extends Error {
  constructor(
    readonly error: PermanentError,
    readonly command: string,
  ) {
    super(error.message, { cause: error });
  }
}

async function orThrowDenied<T>(command: string, reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (thrown) {
    if (thrown instanceof PermanentError && thrown.code === 'permission-denied')
      throw new AccessDenied(thrown, command);
    throw thrown;
  }
}

export async function orAccessDenied<T>(reading: Promise<T>): Promise<T | AccessDenied> {
  try {
    return await reading;
  } catch (thrown) {
    if (thrown instanceof AccessDenied) return thrown;
    throw thrown;
  }
}

export type NetworkReader = ReturnType<typeof makeNetworkReader>;

/** What one look at a way asks the cloud, each thing once. @throws Unseen where that is not permitted */
export function makeNetworkReader(clients: Clients, deadline: Deadline) {
  const inventory = makeNetworkInventory(clients, deadline);
  const instanceFirewalls = memoize(
    (ref: GcpNodeRef) => firewallsOfInstance(clients, ref, deadline),
    ({ id }) => id,
  );
  const networkFirewalls = memoize(
    (ref: NetworkRef) => firewallsOfNetwork(clients, ref, deadline),
    networkKey,
  );
  const instances = memoize(
    (at: AddressInProject) => listInstances(clients, at, deadline),
    ({ project, address }) => `${project} ${address}`,
  );
  const forwardingRules = memoize(
    (at: AddressInProject) => listForwardingRules(clients, at, deadline),
    ({ project, address }) => `${project} ${address}`,
  );
  return {
    /** Undefined for a network that does not exist. */
    network: (ref: NetworkRef) =>
      orThrowDenied(describeNetwork(ref), undefinedIfNotFound(inventory.network(ref))),
    subnetworks: (ref: NetworkRef) =>
      orThrowDenied(
        gcloud('networks', 'subnets', 'list', ...inProject(ref), '--network', ref.network),
        inventory.subnetworks(ref),
      ),
    peeringRoutes: (ref: NetworkRef, peering: string, region: string) =>
      orThrowDenied(listPeeringRoutes(ref, peering, region), inventory.peeringRoutes(ref, peering, region)),
    staticRoutes: (ref: NetworkRef) =>
      orThrowDenied(
        gcloud('routes', 'list', ...inProject(ref), '--filter', `network:${ref.network}`),
        inventory.staticRoutes(ref),
      ),
    learnedRoutes: (ref: NetworkRef, network: Network, region: string) =>
      orThrowDenied(
        gcloud('routers', 'list', ...inProject(ref)),
        inventory.learnedRoutes(ref, network, region),
      ),
    firewallsOf: (ref: GcpNodeRef) =>
      orThrowDenied(
        gcloud('instances', 'network-interfaces', 'get-effective-firewalls', ref.id, ...inZone(ref)),
        instanceFirewalls(ref),
      ),
    firewallsIn: (ref: NetworkRef) =>
      orThrowDenied(
        gcloud('networks', 'get-effective-firewalls', ref.network, ...inProject(ref)),
        networkFirewalls(ref),
      ),
    /** @param address without a prefix length */
    instanceAt: async (ref: NetworkRef, address: string): Promise<Instance | undefined> => {
      const all = await orThrowDenied(
        gcloud('instances', 'list', ...inProject(ref), '--filter', `networkInterfaces.networkIP=${address}`),
        instances({ project: ref.project, address }),
      );
      return all.find(({ networkInterfaces }) => isInNetwork(ref, networkInterfaces?.[0]?.network));
    },
    /** @param address without a prefix length */
    forwardingRulesAt: async (ref: NetworkRef, address: string): Promise<ForwardingRule[]> => {
      const all = await orThrowDenied(
        gcloud('forwarding-rules', 'list', ...inProject(ref), '--filter', `IPAddress=${address}`),
        forwardingRules({ project: ref.project, address }),
      );
      return all.filter(({ network }) => isInNetwork(ref, network));
    },
  };
}

export const inProject = ({ project }: { readonly project: string }): string[] => ['--project', project];
const inZone = ({ project, zone }: GcpNodeRef): string[] => ['--project', project, '--zone', zone];

export const describeNetwork = (ref: NetworkRef): string =>
  gcloud('networks', 'describe', ref.network, ...inProject(ref));

const listPeeringRoutes = (ref: NetworkRef, peering: string, region: string): string =>
  gcloud(
    ...['networks', 'peerings', 'list-routes', peering, ...inProject(ref), '--network', ref.network],
    ...['--region', region, '--direction', 'INCOMING'],
  );

export const gcpRefOf = (instance: Instance, project: string): GcpNodeRef => ({
  cloud: 'gcp',
  project,
  zone: lastSegment(instance.zone),
  id: String(instance.id),
});

function firewallsOfInstance(
  clients: Clients,
  { project, zone, id: instance }: GcpNodeRef,
  deadline: Deadline,
): Promise<EffectiveFirewalls> {
  return call(`read the firewall rules of instance ${instance}`, deadline, async (options) => {
    const client = await clients.instances();
    const request = { project, zone, instance, networkInterface: 'nic0' };
    return (await client.getEffectiveFirewalls(request, options))[0];
  });
}

function firewallsOfNetwork(
  clients: Clients,
  { project, network }: NetworkRef,
  deadline: Deadline,
): Promise<EffectiveFirewalls> {
  return call(`read the firewall rules of network ${network} of ${project}`, deadline, async (options) => {
    const client = await clients.networks();
    return (await client.getEffectiveFirewalls({ project, network }, options))[0];
  });
}

interface AddressInProject {
  readonly project: string;
  readonly address: string;
}

function listInstances(
  clients: Clients,
  { project, address }: AddressInProject,
  deadline: Deadline,
): Promise<Instance[]> {
  const filter = `networkInterfaces.networkIP = "${address}"`;
  return listAll({
    action: `list the instances of ${project}`,
    deadline,
    list: async (options) => {
      const client = await clients.instances();
      return client.aggregatedListAsync({ project, filter, maxResults: 500 }, options);
    },
    toItems: ([, { instances }]) => instances ?? [],
  });
}

function listForwardingRules(
  clients: Clients,
  { project, address }: AddressInProject,
  deadline: Deadline,
): Promise<ForwardingRule[]> {
  const filter = `IPAddress = "${address}"`;
  return listAll({
    action: `list the forwarding rules of ${project}`,
    deadline,
    list: async (options) => {
      const client = await clients.other(ForwardingRulesClient);
      return client.aggregatedListAsync({ project, filter, maxResults: 500 }, options);
    },
    toItems: ([, { forwardingRules }]) => forwardingRules ?? [],
  });
}
