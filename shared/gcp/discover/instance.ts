import type { protos } from '@google-cloud/compute';
import { nodeKey, type GcpNodeRef, type Node } from '../../core/model/node';
import type { Deadline } from '../../core/cloud';
import { callOptions, type Clients } from '../client/clients';
import { undefinedIfNotFound, call } from '../client/errors';
import type { MetadataItem } from '../deliver/metadata';

export type Instance = protos.google.cloud.compute.v1.IInstance;

/** What the last look-up saw of a node, so that routes and channel need not ask for it again. */
const instances = new WeakMap<Node, Instance>();

/** Keeps what a look-up saw of a node. @returns the node */
export function withInstance(node: Node, instance: Instance): Node {
  instances.set(node, instance);
  return node;
}

/** @returns undefined for an instance that does not exist (any more) */
export function readInstance(
  clients: Clients,
  { project, zone, id: instance }: GcpNodeRef,
  deadline: Deadline,
): Promise<Instance | undefined> {
  return undefinedIfNotFound(
    call(`read instance ${instance}`, deadline, async () => {
      const client = await clients.instances();
      // The id stands where a name may: names are reused (discovery document, compute.instances.get).
      const [found] = await client.get({ project, zone, instance }, callOptions(deadline));
      return found;
    }),
  );
}

/** As the last look-up saw it, or as it is now when this node was not looked up here. */
export async function getInstance(
  clients: Clients,
  node: Node,
  deadline: Deadline,
): Promise<Instance | undefined> {
  return instances.get(node) ?? (await readInstance(clients, gcpRef(node), deadline));
}

export function gcpRef({ ref }: Node): GcpNodeRef {
  if (ref.cloud !== 'gcp') throw new TypeError(`${nodeKey(ref)} is not a Google Cloud node`);
  return ref;
}

export const metadataItems = ({ metadata }: Instance): MetadataItem[] =>
  (metadata?.items ?? []).map(({ key, value }) => ({ key: key ?? '', value: value ?? '' }));

/** The last part of a resource's URL. */
export const lastSegment = (url: string | null | undefined): string => url?.split('/').at(-1) ?? '';
