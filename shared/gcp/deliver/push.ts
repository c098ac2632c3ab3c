import { PermanentError, RetryableError, type PeermasqError } from '../../core/model/errors';
import type { Deadline, PushRequest, PushResult } from '../../core/cloud';
import { ruleSetId } from '../../core/model/rule-set';
import { definedOnly } from '../../core/util/collections';
import { callOptions, mapLimited, type Clients } from '../client/clients';
import { call, toPeermasqError } from '../client/errors';
import { metadataItems, readInstance, type GcpNode, type Written } from '../discover/instance';
import { withRuleSet, type MetadataItem } from './metadata';
import { operationIn } from '../client/operations';

/** Hands nodes their rule set, program and startup script as metadata. @param program the node program's text */
export function pushToNodes(
  clients: Clients,
  program: string,
  request: PushRequest,
  nodes: readonly GcpNode[],
  deadline: Deadline,
): Promise<PushResult<GcpNode>[]> {
  const { ruleSet } = request;
  const items = (current: readonly MetadataItem[]) => withRuleSet(current, request, program);
  return mapLimited(nodes, async (node): Promise<PushResult<GcpNode>> => {
    try {
      const change = await writeMetadata(clients, node, items, deadline);
      const written =
        change && definedOnly({ ...change, generation: request.force ? ruleSet.generation : undefined });
      return {
        result: 'pushed',
        node: written ? { ...node, written } : node,
        ruleSet,
        id: ruleSetId(ruleSet),
      };
    } catch (thrown) {
      return toFailedPush(node, toPeermasqError(`push to ${node.name}`, thrown));
    }
  });
}

const toFailedPush = (node: GcpNode, error: PeermasqError): PushResult<GcpNode> =>
  error instanceof RetryableError && error.code === 'not-ready'
    ? { result: 'not-ready', node, reason: error.message, retryAfterSeconds: error.retryAfterSeconds }
    : { result: 'failed', node, error };

/** Many writers may want the same instance at once, and in each round only one of them gets through. */
const writeAttempts = 60;

/** Without its instance, which may be outdated, that is read first. */
type MetadataTarget = Pick<GcpNode, 'ref' | 'name'> & Partial<Pick<GcpNode, 'instance'>>;

/**
 * Read, change, write; whoever wrote in between makes it start again from what they wrote.
 * @returns undefined when everything was as wanted
 */
export async function writeMetadata(
  clients: Clients,
  { ref, name, instance: known }: MetadataTarget,
  change: (current: readonly MetadataItem[]) => readonly MetadataItem[],
  deadline: Deadline,
): Promise<Written | undefined> {
  const { project, zone, id } = ref;
  let instance = known ?? (await readInstance(clients, ref, deadline));
  return call(
    `set the metadata of ${name}`,
    deadline,
    async () => {
      instance ??= await readInstance(clients, ref, deadline);
      if (!instance) throw instanceGone(name);
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

const instanceGone = (name: string) =>
  new PermanentError(
    'not-found',
    `Instance ${name} does not exist any more`,
    'Nothing is left to do for it.',
  );
