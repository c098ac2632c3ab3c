import { CreateTagsCommand, type Tag } from '@aws-sdk/client-ec2';
import { PeermasqError } from '../../core/model/errors';
import type { PushRecord, RecordFailure } from '../../core/cloud';
import { latestFormat } from '../../core/model/rule-set';
import { chunks, definedOnly, groupBy } from '../../core/util/collections';
import { call } from '../client/call';
import type { Access } from '../client/clients';
import { idsMentionedIn } from '../client/errors';
import type { AwsNode } from '../discover/nodes';
import { idPrefix, type StatusRecord } from '../discover/recorded-status';
import { ruleSetTag, statusTag } from '../names';

/**
 * Formats a status as a tag value. Nodes with the same status get the same value, so that one CreateTags call covers
 * them.
 */
function formatStatus({ state, at, ruleSet, routes, format, code }: StatusRecord): string {
  const parts = [state, at.toISOString()];
  if (ruleSet !== undefined) parts.push(`ruleset=${ruleSet}`);
  if (routes !== undefined) parts.push(`routes=${routes}`);
  if (format !== undefined) parts.push(`format=${format}`);
  if (code !== undefined) parts.push(`code=${code}`);
  return parts.join(' ');
}

/**
 * Marks nodes as having a push in progress. Must be called before a push: the mark invalidates the previous proof even
 * if the node never reports, and prevents other processes from pushing the same rule set.
 * @returns the nodes that could not be marked
 */
export function markPushed(
  access: Access,
  nodes: readonly AwsNode[],
  ruleSetId: string,
): Promise<RecordFailure<AwsNode>[]> {
  const at = new Date();
  const ruleSet = idPrefix(ruleSetId);
  const marks = nodes.map((node) => ({
    node,
    tags: [toStatusTag({ state: 'pushed', at, ruleSet, ...recordedRoutes(node) })],
  }));
  return writeAll(access, marks);
}

/** Returns the recorded number of routes. It stays in the status until another rule set is in force. */
export const recordedRoutes = ({ recorded }: AwsNode): Pick<StatusRecord, 'routes'> =>
  definedOnly({ routes: recorded?.routes });

/** Records the results of pushes in tags. A node whose push failed keeps the tag of the rule set in force. */
export function writeRecords(
  access: Access,
  records: readonly PushRecord<AwsNode>[],
): Promise<RecordFailure<AwsNode>[]> {
  const at = new Date();
  const marks = records.map(({ node, ruleSetId, state, code, routes }) => {
    const isProven = state === 'proven';
    const status = toStatusTag({
      state: isProven ? 'proven' : 'failed',
      at,
      ...definedOnly({ routes, format: isProven ? latestFormat : undefined, code }),
    });
    const tags = ruleSetId === undefined ? [status] : [{ Key: ruleSetTag, Value: ruleSetId }, status];
    return { node, tags };
  });
  return writeAll(access, marks);
}

const toStatusTag = (status: StatusRecord): Tag => ({ Key: statusTag, Value: formatStatus(status) });

interface Mark {
  readonly node: AwsNode;
  readonly tags: Tag[];
}

/** Makes one CreateTags call for all nodes that get the same tags. */
async function writeAll(access: Access, marks: readonly Mark[]): Promise<RecordFailure<AwsNode>[]> {
  const failures: RecordFailure<AwsNode>[] = [];
  for (const group of groupBy(marks, ({ tags }) => JSON.stringify(tags)).values()) {
    const [{ tags }] = group;
    const nodes = group.map(({ node }) => node);
    for (const some of chunks(nodes, resourcesLimit)) failures.push(...(await writeTags(access, some, tags)));
  }
  return failures;
}

/** The maximum number of resources in one CreateTags call (EC2 API reference). */
const resourcesLimit = 1_000;

/**
 * Tags the nodes in one call, then repeats the call without the nodes that failed. If the error names no instance,
 * the failed nodes are found by bisection, which takes about 20 calls for one node among 1,000.
 */
async function writeTags(
  access: Access,
  nodes: readonly AwsNode[],
  tags: Tag[],
): Promise<RecordFailure<AwsNode>[]> {
  const error = nodes.length === 0 ? undefined : await createTags(access, nodes, tags);
  if (!error) return [];
  const failed = new Set(failedNodes(error, nodes));
  const rest = nodes.filter((node) => !failed.has(node));
  const parts = failed.size > 0 ? [rest] : chunks(rest, Math.ceil(rest.length / 2));
  const failures = [...failed].map((node) => ({ node, error }));
  for (const part of parts) failures.push(...(await writeTags(access, part, tags)));
  return failures;
}

/** Errors caused by single instances. If one occurs, none of the instances in the CreateTags call is tagged. */
const instanceErrors = /^(TagLimitExceeded|InvalidID|InvalidInstanceID\.\w+)$/;

/**
 * Returns the nodes that an error affects. Denials, throttling and timeouts affect all nodes, because calls for single
 * nodes would also fail.
 */
function failedNodes(error: PeermasqError, nodes: readonly AwsNode[]): readonly AwsNode[] {
  if (nodes.length === 1 || !instanceErrors.test(error.code)) return nodes;
  const named = new Set(idsMentionedIn(error, idsOf(nodes)));
  return nodes.filter(({ ref }) => named.has(ref.id));
}

const idsOf = (nodes: readonly AwsNode[]) => nodes.map(({ ref }) => ref.id);

/** @returns the error if the call failed; in that case no node was tagged */
async function createTags(
  { clients: { ec2 }, deadline }: Access,
  nodes: readonly AwsNode[],
  Tags: Tag[],
): Promise<PeermasqError | undefined> {
  try {
    await call('ec2:CreateTags', deadline, (options) =>
      ec2.send(new CreateTagsCommand({ Resources: idsOf(nodes), Tags }), options),
    );
    return undefined;
  } catch (error) {
    if (error instanceof PeermasqError) return error;
    throw error;
  }
}
