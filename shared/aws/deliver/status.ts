import { CreateTagsCommand, type Tag } from '@aws-sdk/client-ec2';
import { PeermasqError } from '../../core/model/errors';
import type { AwsNode } from '../discover/nodes';
import type { Deadline, PushRecord, RecordFailure } from '../../core/cloud';
import type { RecordedState } from '../../core/model/report';
import { chunks, groupBy } from '../../core/util/collections';
import { call } from '../client/call';
import { idsMentionedIn } from '../client/errors';
import type { Clients } from '../client/clients';
import { ruleSetTag, statusTag } from '../names';

/** What the status tag says: how the last push ended, or that it has not, and of how many routes it was made. */
export interface StatusRecord {
  readonly outcome: 'proven' | 'failed' | 'pushed';
  readonly at: Date;
  /** The begin of the id of the rule set that was pushed last; only of `pushed`. */
  readonly ruleSet?: string;
  readonly routes?: number;
}

/** Characters of an id that a status carries. */
const idPrefixLength = 12;

/** The value of the status tag. It is the same for many nodes, so that one CreateTags serves them. */
function formatStatus({ outcome, at, ruleSet, routes }: StatusRecord): string {
  return [
    outcome,
    at.toISOString(),
    ...(ruleSet === undefined ? [] : [`ruleset=${ruleSet}`]),
    ...(routes === undefined ? [] : [`routes=${routes}`]),
  ].join(' ');
}

/** Undefined for what is no status of ours. */
export function parseStatus(tags: ReadonlyMap<string, string>): StatusRecord | undefined {
  const pattern =
    /^(?<outcome>proven|failed|pushed) (?<time>\S+)(?: ruleset=(?<ruleSet>[0-9a-f]{12}))?(?: routes=(?<routes>\d{1,6}))?$/;
  const { outcome, time = '', ruleSet, routes } = pattern.exec(tags.get(statusTag) ?? '')?.groups ?? {};
  const at = new Date(time);
  if (outcome === undefined || Number.isNaN(at.getTime())) return undefined;
  return {
    outcome: outcome as StatusRecord['outcome'],
    at,
    ...(ruleSet !== undefined && { ruleSet }),
    ...(routes !== undefined && { routes: Number(routes) }),
  };
}

/**
 * Milliseconds within which a node that was pushed to may still answer; after that it is pushed to again. It is the
 * time that a command has to start in, in which its result comes by the queue of commands too.
 */
const pushTimeoutMs = 120_000;

/** Whether somebody else pushed just this rule set a moment ago. */
export function isPushInProgress(status: StatusRecord | undefined, ruleSetId: string): boolean {
  if (status?.ruleSet !== ruleSetId.slice(0, idPrefixLength)) return false;
  const age = Date.now() - status.at.getTime();
  return Math.abs(age) < pushTimeoutMs;
}

/**
 * What an instance's tags say of its rules. They are a proof only from this launch on: "launch more like this"
 * copies them, and what a stopped instance puts back in force at its boot it has not proven again. Older ones
 * still say that there may be rules to take away.
 */
export function recordedOf(
  tags: ReadonlyMap<string, string>,
  launched: Date | undefined,
): RecordedState | undefined {
  const ruleSetId = tags.get(ruleSetTag) ?? '';
  if (!/^[0-9a-f]{64}$/.test(ruleSetId)) return undefined;
  const status = parseStatus(tags);
  return {
    ruleSetId,
    isProven: status?.outcome === 'proven' && launched !== undefined && status.at >= launched,
    ...(status && { at: status.at }),
    ...(status?.routes !== undefined && { routes: status.routes }),
  };
}

/** How the last push ended; undefined while one has not, and of another launch, whose tags were copied. */
export function lastPushOf(
  tags: ReadonlyMap<string, string>,
  launched: Date | undefined,
): AwsNode['lastPush'] | undefined {
  const { outcome, at } = parseStatus(tags) ?? {};
  if (outcome === undefined || outcome === 'pushed' || !at || !launched || at < launched) return undefined;
  return { state: outcome, at };
}

/**
 * To be called before a push: from then on what the nodes once proved is no proof, whether they answer or not,
 * and nobody else pushes the same to them.
 * @returns the nodes that could not be marked
 */
export function markPushed(
  clients: Clients,
  nodes: readonly AwsNode[],
  ruleSetId: string,
  deadline: Deadline,
): Promise<RecordFailure<AwsNode>[]> {
  const at = new Date();
  const ruleSet = ruleSetId.slice(0, idPrefixLength);
  const marks = nodes.map((node) => ({
    node,
    tags: [statusTagFor({ outcome: 'pushed', at, ruleSet, ...recordedRoutes(node) })],
  }));
  return writeAll(clients, marks, deadline);
}

/** What a status goes on saying of a node until another rule set is in force on it. */
export const recordedRoutes = ({ recorded }: AwsNode): Pick<StatusRecord, 'routes'> =>
  recorded?.routes === undefined ? {} : { routes: recorded.routes };

/** Mirrors how pushes ended in tags. A node without a rule set in force keeps the tag of the last one. */
export function writeRecords(
  clients: Clients,
  records: readonly PushRecord<AwsNode>[],
  deadline: Deadline,
): Promise<RecordFailure<AwsNode>[]> {
  const at = new Date();
  const marks = records.map(({ node, ruleSetId, state, routes }) => {
    const outcome = state === 'proven' ? 'proven' : 'failed';
    const status = statusTagFor({ outcome, at, ...(routes !== undefined && { routes }) });
    return {
      node,
      tags: ruleSetId === undefined ? [status] : [{ Key: ruleSetTag, Value: ruleSetId }, status],
    };
  });
  return writeAll(clients, marks, deadline);
}

const statusTagFor = (status: StatusRecord): Tag => ({ Key: statusTag, Value: formatStatus(status) });

/** One CreateTags for all nodes that get the same. */
async function writeAll(
  clients: Clients,
  marks: readonly { readonly node: AwsNode; readonly tags: Tag[] }[],
  deadline: Deadline,
): Promise<RecordFailure<AwsNode>[]> {
  const groups = groupBy(marks, ({ tags }) => JSON.stringify(tags));
  const recordFailures: RecordFailure<AwsNode>[] = [];
  for (const group of groups.values()) {
    const nodes = group.map(({ node }) => node);
    recordFailures.push(...(await writeTags(clients, nodes, group[0]?.tags ?? [], deadline)));
  }
  return recordFailures;
}

/** Resources in one CreateTags (EC2 API reference). */
const resourcesLimit = 1_000;

/** Where an error names no instance, the one it is about is found by halves: some 20 calls among 1,000. */
async function writeTags(
  clients: Clients,
  nodes: readonly AwsNode[],
  tags: Tag[],
  deadline: Deadline,
  size = resourcesLimit,
): Promise<RecordFailure<AwsNode>[]> {
  const recordFailures: RecordFailure<AwsNode>[] = [];
  for (const some of chunks(nodes, size)) {
    const error = await createTags(clients, some, tags, deadline);
    if (!error) continue;
    const offending = new Set(offendingNodes(error, some));
    const rest = some.filter((node) => !offending.has(node));
    recordFailures.push(...[...offending].map((node) => ({ node, error })));
    const next = offending.size > 0 ? size : Math.ceil(some.length / 2);
    recordFailures.push(...(await writeTags(clients, rest, tags, deadline, next)));
  }
  return recordFailures;
}

/** Errors about single instances; CreateTags then tags none. */
const instanceErrors = /^(TagLimitExceeded|InvalidID|InvalidInstanceID\.\w+)$/;

/** A denial, a throttle or a lack of time concerns all: to try them one by one would make it worse. */
function offendingNodes(error: PeermasqError, nodes: readonly AwsNode[]): readonly AwsNode[] {
  if (nodes.length === 1 || !instanceErrors.test(error.code)) return nodes;
  const named = new Set(idsMentionedIn(error, idsOf(nodes)));
  return nodes.filter(({ ref }) => named.has(ref.id));
}

const idsOf = (nodes: readonly AwsNode[]) => nodes.map(({ ref }) => ref.id);

/** @returns why none was tagged */
async function createTags(
  { ec2 }: Clients,
  nodes: readonly AwsNode[],
  Tags: Tag[],
  deadline: Deadline,
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
