import { PermanentError, RetryableError, type PeermasqError } from '../../core/model/errors';
import type { Deadline, PushRequest, PushResult } from '../../core/cloud';
import { ruleSetId } from '../../core/model/rule-set';
import { definedOnly } from '../../core/util/collections';
import { callWithAttempts, mapLimited } from '../client/call';
import type { Clients } from '../client/clients';
import { toPeermasqError } from '../client/errors';
import { operationIn } from '../client/operations';
import type { Instance } from '../discover/networks';
import { metadataItems, type MetadataItem } from '../discover/recorded-status';
import { readInstance, type GcpNode, type Written } from '../discover/nodes';
import { withRuleSet } from './metadata';

interface Delivery {
  readonly request: PushRequest;
  /** The text of the node program. */
  readonly program: string;
  readonly nodes: readonly GcpNode[];
}

/**
 * Assigns a rule set to nodes by writing it to their metadata, together with the node program and the startup script.
 */
export function pushToNodes(
  clients: Clients,
  { request, program, nodes }: Delivery,
  deadline: Deadline,
): Promise<PushResult<GcpNode>[]> {
  const { ruleSet, force = false } = request;
  const change: MetadataChange = (current) => withRuleSet(current, request, program);
  const generation = force ? ruleSet.generation : undefined;
  return mapLimited(nodes, async (node): Promise<PushResult<GcpNode>> => {
    try {
      const written = await writeMetadata(clients, { node, change }, deadline);
      const changed = written ? { ...node, written: definedOnly({ ...written, generation }) } : node;
      return { result: 'pushed', node: changed, ruleSet, id: ruleSetId(ruleSet) };
    } catch (thrown) {
      return toFailedPush(node, toPeermasqError(`push to ${node.name}`, thrown));
    }
  });
}

const toFailedPush = (node: GcpNode, error: PeermasqError): PushResult<GcpNode> =>
  error instanceof RetryableError && error.code === 'not-ready'
    ? { result: 'not-ready', node, reason: error.message, retryAfterSeconds: error.retryAfterSeconds }
    : { result: 'failed', node, error };

/** A function that changes metadata. Returns the same array if nothing has to change. */
export type MetadataChange = (current: readonly MetadataItem[]) => readonly MetadataItem[];

interface MetadataWrite {
  /** The instance to change. If the caller has no copy, or an outdated copy, the instance is read first. */
  readonly node: Pick<GcpNode, 'ref' | 'name'> & Partial<Pick<GcpNode, 'instance'>>;
  readonly change: MetadataChange;
}

/** The maximum number of attempts. If many writers change one instance, only one of them succeeds in each round. */
const writeAttempts = 60;

/**
 * Reads, changes and writes the metadata. Starts over if another writer has changed the metadata in the meantime.
 * @returns undefined if nothing had to change
 */
export function writeMetadata(
  clients: Clients,
  { node, change }: MetadataWrite,
  deadline: Deadline,
): Promise<Written | undefined> {
  const { ref, name } = node;
  let known: Instance | undefined = node.instance;
  const write = { action: `set the metadata of ${name}`, deadline, attempts: writeAttempts };
  return callWithAttempts(write, async (options) => {
    const instance = known ?? (await readInstance(clients, ref, deadline));
    known = undefined;
    if (!instance) throw instanceGone(name);
    const current = metadataItems(instance);
    const items = change(current);
    if (items === current) return undefined;
    const metadataResource = {
      items: [...items],
      ...definedOnly({ fingerprint: instance.metadata?.fingerprint ?? undefined }),
    };
    const client = await clients.instances();
    const { project, zone, id } = ref;
    const [{ latestResponse }] = await client.setMetadata(
      { project, zone, instance: id, metadataResource },
      options,
    );
    return { at: new Date(), operation: operationIn(latestResponse) };
  });
}

const instanceGone = (name: string) =>
  new PermanentError('not-found', `Instance ${name} does not exist`, {
    advice: 'The instance was deleted. There is nothing to do.',
  });
