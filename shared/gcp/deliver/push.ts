import { PermanentError, RetryableError, type PeermasqError } from '../../core/model/errors';
import type { Node } from '../../core/model/node';
import type { Deadline, PushRequest, PushResult } from '../../core/cloud';
import { ruleSetId } from '../../core/model/rule-set';
import { callOptions, mapLimited, type Clients } from '../client/clients';
import { call, toPeermasqError } from '../client/errors';
import { gcpRef, getInstance, metadataItems, readInstance } from '../discover/instance';
import { withRuleSet, type MetadataItem } from './metadata';
import { operationIn, type Operation } from '../client/operations';

/** A change of metadata that was begun; whether it came to its end the node's report tells. */
export interface Written {
  readonly at: Date;
  readonly operation: Operation;
  /** What was reported of an older generation is no answer to it. */
  readonly generation?: number;
}

/** What this process wrote to nodes. */
export type WrittenTo = WeakMap<Node, Written>;

/** Hands nodes their rule set, program and startup script as metadata. @param program the node program's text */
export function pushToNodes(
  clients: Clients,
  program: string,
  written: WrittenTo,
  request: PushRequest,
  nodes: readonly Node[],
  deadline: Deadline,
): Promise<PushResult[]> {
  const { ruleSet } = request;
  const items = (current: readonly MetadataItem[]) => withRuleSet(current, request, program);
  return mapLimited(nodes, async (node): Promise<PushResult> => {
    try {
      const change = await writeMetadata(clients, node, items, deadline);
      const generation = request.force ? ruleSet.generation : undefined;
      if (change) written.set(node, { ...change, ...(generation !== undefined && { generation }) });
      return { result: 'pushed', node, ruleSet, id: ruleSetId(ruleSet) };
    } catch (thrown) {
      return toFailedPush(node, toPeermasqError(`push to ${node.name}`, thrown));
    }
  });
}

const toFailedPush = (node: Node, error: PeermasqError): PushResult =>
  error instanceof RetryableError && error.code === 'not-ready'
    ? { result: 'not-ready', node, reason: error.message, retryAfterSeconds: error.retryAfterSeconds }
    : { result: 'failed', node, error };

/** Many writers may want the same instance at once, and in each round only one of them gets through. */
const writeAttempts = 60;

/**
 * Read, change, write; whoever wrote in between makes it start again from what they wrote.
 * @returns undefined when everything was as wanted
 */
export async function writeMetadata(
  clients: Clients,
  node: Node,
  change: (current: readonly MetadataItem[]) => readonly MetadataItem[],
  deadline: Deadline,
): Promise<Written | undefined> {
  const { project, zone, id } = gcpRef(node);
  let instance = await getInstance(clients, node, deadline);
  return call(
    `set the metadata of ${node.name}`,
    deadline,
    async () => {
      instance ??= await readInstance(clients, gcpRef(node), deadline);
      if (!instance) throw instanceGone(node);
      const current = metadataItems(instance);
      const items = change(current);
      const { fingerprint } = instance.metadata ?? {};
      instance = undefined;
      if (items === current) return undefined;
      const metadataResource = { items: [...items], ...(fingerprint ? { fingerprint } : {}) };
      const request = { project, zone, instance: id, metadataResource };
      const client = await clients.instances();
      const [{ latestResponse }] = await client.setMetadata(request, callOptions(deadline));
      return { at: new Date(), operation: operationIn(latestResponse) };
    },
    writeAttempts,
  );
}

const instanceGone = ({ name }: Node) =>
  new PermanentError(
    'not-found',
    `Instance ${name} does not exist any more`,
    'Nothing is left to do for it.',
  );
