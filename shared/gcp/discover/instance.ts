import type { protos } from '@google-cloud/compute';
import type { GcpNodeRef, Node } from '../../core/model/node';
import type { Deadline } from '../../core/cloud';
import { call } from '../client/call';
import type { Clients } from '../client/clients';
import { undefinedIfNotFound } from '../client/errors';
import type { Operation } from '../client/operations';

export type Instance = protos.google.cloud.compute.v1.IInstance;

/** A node with the instance that it was read from, so that discovery and delivery do not read it again. */
export interface GcpNode extends Node {
  readonly ref: GcpNodeRef;
  readonly instance: Instance;
  /** How a push changed its metadata after the instance was read. */
  readonly written?: Written;
}

/** A change of metadata that was started. The node's report shows whether it succeeded. */
export interface Written {
  readonly at: Date;
  readonly operation: Operation;
  /** Of a forced push: a report about an older generation does not answer it. */
  readonly generation?: number;
}

/** Undefined for an instance that does not exist. */
export function readInstance(
  clients: Clients,
  { project, zone, id: instance }: GcpNodeRef,
  deadline: Deadline,
): Promise<Instance | undefined> {
  return undefinedIfNotFound(
    call(`read instance ${instance}`, deadline, async (options) => {
      const client = await clients.instances();
      // The API takes the id in place of the name, which can be reused (discovery document, compute.instances.get).
      return (await client.get({ project, zone, instance }, options))[0];
    }),
  );
}

export interface MetadataItem {
  readonly key: string;
  readonly value: string;
}

export const metadataItems = ({ metadata }: Instance): MetadataItem[] =>
  (metadata?.items ?? []).map(({ key, value }) => ({ key: key ?? '', value: value ?? '' }));

export const metadataValue = (items: readonly MetadataItem[], key: string): string | undefined =>
  items.find((item) => item.key === key)?.value;
