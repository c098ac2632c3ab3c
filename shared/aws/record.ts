import { CreateTagsCommand, type Tag } from '@aws-sdk/client-ec2';
import { PeermasqError } from '../core/errors';
import type { Node } from '../core/node';
import type { Deadline } from '../core/ports';
import type { Recorded, Report } from '../core/report';
import { call, chunks, namedIn, type Clients } from './clients';
import { ruleSetTag, statusTag } from './names';

/** A node whose tags could not be written, and why. */
export interface Unrecorded {
  readonly node: Node;
  readonly error: PeermasqError;
}

type Status = 'proven' | 'failed' | 'pushed';

/** The value of the status tag. It is the same for many nodes, so that one CreateTags serves them. */
function statusAt(status: Status, at: Date): Tag {
  return { Key: statusTag, Value: `${status} ${at.toISOString()}` };
}

/**
 * What an instance's tags say of its rules. They are a proof only from this launch on: "launch more like this"
 * copies them, and what a stopped instance puts back in force at its boot it has not proven again. Older ones
 * still say that there may be rules to take away.
 */
export function recordedIn(
  tags: ReadonlyMap<string, string>,
  launched: Date | undefined,
): Recorded | undefined {
  const ruleSetId = tags.get(ruleSetTag) ?? '';
  if (!/^[0-9a-f]{64}$/.test(ruleSetId)) return undefined;
  const [, provenAt = ''] = /^proven (\S+)$/.exec(tags.get(statusTag) ?? '') ?? [];
  return { ruleSetId, isProven: launched !== undefined && Date.parse(provenAt) >= launched.getTime() };
}

/**
 * To be called before a push: from then on what the nodes once proved is no proof, whether they answer or not.
 * @returns the nodes of which the tags still say otherwise
 */
export function markPushed(
  clients: Clients,
  nodes: readonly Node[],
  deadline: Deadline,
): Promise<Unrecorded[]> {
  return writeTags(clients, nodes, [statusAt('pushed', new Date())], deadline);
}

/** Mirrors reports in tags. A node without a rule set in force keeps the tag of the last one. */
export async function remember(
  clients: Clients,
  reports: readonly { readonly node: Node; readonly report: Report }[],
  deadline: Deadline,
): Promise<Unrecorded[]> {
  const now = new Date();
  const groups = new Map<string, { tags: Tag[]; nodes: Node[] }>();
  for (const { node, report } of reports) {
    const status = statusAt(report.proven ? 'proven' : 'failed', now);
    const tags = report.id === null ? [status] : [{ Key: ruleSetTag, Value: report.id }, status];
    const key = JSON.stringify(tags);
    const group = groups.get(key) ?? { tags, nodes: [] };
    group.nodes.push(node);
    groups.set(key, group);
  }
  const unrecorded: Unrecorded[] = [];
  for (const { tags, nodes } of groups.values()) {
    unrecorded.push(...(await writeTags(clients, nodes, tags, deadline)));
  }
  return unrecorded;
}

/** Resources in one CreateTags (EC2 API reference). */
const resourcesLimit = 1_000;

/** Where an error names no instance, the one it is about is found by halves: some 20 calls among 1,000. */
async function writeTags(
  clients: Clients,
  nodes: readonly Node[],
  tags: Tag[],
  deadline: Deadline,
  size = resourcesLimit,
): Promise<Unrecorded[]> {
  const unrecorded: Unrecorded[] = [];
  for (const some of chunks(nodes, size)) {
    const error = await createTags(clients, some, tags, deadline);
    if (!error) continue;
    const blamed = new Set(blamedFor(error, some));
    const rest = some.filter((node) => !blamed.has(node));
    unrecorded.push(...[...blamed].map((node) => ({ node, error })));
    const next = blamed.size > 0 ? size : Math.ceil(some.length / 2);
    unrecorded.push(...(await writeTags(clients, rest, tags, deadline, next)));
  }
  return unrecorded;
}

/** Errors about single instances; CreateTags then tags none. */
const ofSingleInstances = /^(TagLimitExceeded|InvalidID|InvalidInstanceID\.\w+)$/;

/** A denial, a throttle or a lack of time concerns all: to try them one by one would make it worse. */
function blamedFor(error: PeermasqError, nodes: readonly Node[]): readonly Node[] {
  if (nodes.length === 1 || !ofSingleInstances.test(error.code)) return nodes;
  const named = new Set(namedIn(error, idsOf(nodes)));
  return nodes.filter(({ ref }) => named.has(ref.id));
}

const idsOf = (nodes: readonly Node[]) => nodes.map(({ ref }) => ref.id);

/** @returns why none was tagged */
async function createTags(
  { ec2 }: Clients,
  nodes: readonly Node[],
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
