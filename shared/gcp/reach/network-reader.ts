import type { protos } from '@google-cloud/compute';
import { ForwardingRulesClient } from '@google-cloud/compute/build/src/v1/forwarding_rules_client';
import { PermanentError } from '../../core/model/errors';
import type { GcpNodeRef } from '../../core/model/node';
import type { Deadline } from '../../core/cloud';
import { memoize } from '../../core/util/functional';
import { call, listAll } from '../client/call';
import type { Clients } from '../client/clients';
import { undefinedIfNotFound } from '../client/errors';
import {
  isInNetwork,
  makeNetworkInventory,
  networkKey,
  type Instance,
  type Network,
  type NetworkRef,
} from '../discover/networks';
import type { EffectiveFirewalls } from './firewall-rules';
import { gcloud, inNetwork, inProject, listPeeringRoutes } from './fix-command';

export type ForwardingRule = protos.google.cloud.compute.v1.IForwardingRule;

/** A read that was denied, with a command that prints the data for users who have the permission. */
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
  } catch (error) {
    if (error instanceof PermanentError && error.code === 'permission-denied')
      throw new AccessDenied(error, command);
    throw error;
  }
}

export async function orAccessDenied<T>(reading: Promise<T>): Promise<T | AccessDenied> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof AccessDenied) return error;
    throw error;
  }
}

export type NetworkReader = ReturnType<typeof makeNetworkReader>;

/**
 * Creates a reader for the data that the checks need. Each call is made once, because all checks share its result.
 * @throws AccessDenied
 */
export function makeNetworkReader(clients: Clients, deadline: Deadline) {
  const reading = { clients, deadline };
  const inventory = makeNetworkInventory(clients, deadline);
  const instanceFirewalls = memoize(
    (ref: GcpNodeRef) => readInstanceFirewalls(reading, ref),
    ({ id }) => id,
  );
  const networkFirewalls = memoize((ref: NetworkRef) => readNetworkFirewalls(reading, ref), networkKey);
  const instances = memoize((query: AddressQuery) => listInstances(reading, query), queryKey);
  const forwardingRules = memoize((query: AddressQuery) => listForwardingRules(reading, query), queryKey);
  return {
    /** Undefined if the network does not exist. */
    network: (ref: NetworkRef) =>
      orThrowDenied(
        gcloud('networks', 'describe', ref.network, ...inProject(ref)),
        undefinedIfNotFound(inventory.network(ref)),
      ),
    subnetworks: (ref: NetworkRef) =>
      orThrowDenied(gcloud('networks', 'subnets', 'list', ...inNetwork(ref)), inventory.subnetworks(ref)),
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
        gcloud(
          ...['instances', 'network-interfaces', 'get-effective-firewalls', ref.id],
          ...[...inProject(ref), '--zone', ref.zone],
        ),
        instanceFirewalls(ref),
      ),
    firewallsIn: (ref: NetworkRef) =>
      orThrowDenied(
        gcloud('networks', 'get-effective-firewalls', ref.network, ...inProject(ref)),
        networkFirewalls(ref),
      ),
    instanceAt: async (ref: NetworkRef, address: string): Promise<Instance | undefined> => {
      const filter = `networkInterfaces.networkIP=${address}`;
      const found = await orThrowDenied(
        gcloud('instances', 'list', ...inProject(ref), '--filter', filter),
        instances({ project: ref.project, address }),
      );
      return found.find(({ networkInterfaces }) => isInNetwork(ref, networkInterfaces?.[0]?.network));
    },
    forwardingRulesAt: async (ref: NetworkRef, address: string): Promise<ForwardingRule[]> => {
      const found = await orThrowDenied(
        gcloud('forwarding-rules', 'list', ...inProject(ref), '--filter', `IPAddress=${address}`),
        forwardingRules({ project: ref.project, address }),
      );
      return found.filter(({ network }) => isInNetwork(ref, network));
    },
  };
}

interface Reading {
  readonly clients: Clients;
  readonly deadline: Deadline;
}

interface AddressQuery {
  readonly project: string;
  /** The address without a prefix length. */
  readonly address: string;
}

const queryKey = ({ project, address }: AddressQuery): string => `${project} ${address}`;

function readInstanceFirewalls(
  { clients, deadline }: Reading,
  { project, zone, id: instance }: GcpNodeRef,
): Promise<EffectiveFirewalls> {
  return call(`read the firewall rules of instance ${instance}`, deadline, async (options) => {
    const client = await clients.instances();
    const request = { project, zone, instance, networkInterface: 'nic0' };
    return (await client.getEffectiveFirewalls(request, options))[0];
  });
}

function readNetworkFirewalls(
  { clients, deadline }: Reading,
  { project, network }: NetworkRef,
): Promise<EffectiveFirewalls> {
  return call(`read the firewall rules of network ${network} of ${project}`, deadline, async (options) => {
    const client = await clients.networks();
    return (await client.getEffectiveFirewalls({ project, network }, options))[0];
  });
}

const pageSize = 500;

function listInstances(
  { clients, deadline }: Reading,
  { project, address }: AddressQuery,
): Promise<Instance[]> {
  const filter = `networkInterfaces.networkIP = "${address}"`;
  return listAll({
    action: `list the instances of ${project}`,
    deadline,
    list: async (options) => {
      const client = await clients.instances();
      return client.aggregatedListAsync({ project, filter, maxResults: pageSize }, options);
    },
    toItems: ([, { instances }]) => instances ?? [],
  });
}

function listForwardingRules(
  { clients, deadline }: Reading,
  { project, address }: AddressQuery,
): Promise<ForwardingRule[]> {
  const filter = `IPAddress = "${address}"`;
  return listAll({
    action: `list the forwarding rules of ${project}`,
    deadline,
    list: async (options) => {
      const client = await clients.other(ForwardingRulesClient);
      return client.aggregatedListAsync({ project, filter, maxResults: pageSize }, options);
    },
    toItems: ([, { forwardingRules }]) => forwardingRules ?? [],
  });
}
