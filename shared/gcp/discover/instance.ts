import type { protos } from '@google-cloud/compute';
import type { GcpNodeRef, Node } from '../../core/model/node';
import type { Deadline } from '../../core/cloud';
import { callOptions, type Clients } from '../client/clients';
import { undefinedIfNotFound, call } from '../client/errors';
import type { Operation } from '../client/operations';
import type { MetadataItem } from '../deliver/metadata';

export type Instance = protos.google.cloud.compute.v1.IInstance;

/** A node with the instance that it was read from, so that discovery and delivery need not read it again. */
export interface GcpNode extends Node {
  readonly ref: GcpNodeRef;
  readonly instance: Instance;
  /** What a push changed about its metadata since; the instance is from before. */
  readonly written?: Written;
}

/** A change of metadata that was started; whether it succeeded shows in the node's report. */
export interface Written {
  readonly at: Date;
  readonly operation: Operation;
  /** Of a forced push: a report about an older generation does not answer it. */
  readonly generation?: number;
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

export const metadataItems = ({ metadata }: Instance): MetadataItem[] =>
  (metadata?.items ?? []).map(({ key, value }) => ({ key: key ?? '', value: value ?? '' }));

/** The last part of a resource's URL. */
export const lastSegment = (url: string | null | undefined): string => url?.split('/').at(-1) ?? '';
