import { PeermasqError, PermanentError } from '../core/errors';
import type { Node } from '../core/node';
import { groupBy } from '../core/group';
import type { Deadline, Proof } from '../core/ports';
import type { Returned } from '../core/settle';
import type { Clients } from './clients';
import { parseComment } from './comment';
import type { AwsNode } from './nodes';
import { readFinished, toProof } from './proofs';

/** A command that has ended on an instance, as an event tells it. */
export interface Ended {
  readonly node: AwsNode;
  readonly commandId: string;
  readonly requestedAt: Date;
}

/** Whether whoever pushed has recorded how it ended already. */
export function isRecorded({ node: { status }, requestedAt }: Ended): boolean {
  return status !== undefined && status.word !== 'pushed' && status.at >= requestedAt;
}

export interface Late {
  readonly returned: readonly Returned[];
  /** Commands that could not be read, and why; the others are not kept from being told. */
  readonly unread: ReadonlyMap<string, PeermasqError>;
}

/** What nodes say whose commands nobody waits for any more. */
export async function readLate(clients: Clients, ended: readonly Ended[], deadline: Deadline): Promise<Late> {
  const returned: Returned[] = [];
  const unread = new Map<string, PeermasqError>();
  const commands = groupBy(ended, (one) => one.commandId);
  await Promise.all(
    [...commands].map(async ([commandId, some]) => {
      try {
        returned.push(...(await readCommand(clients, commandId, some, deadline)));
      } catch (error) {
        if (!(error instanceof PeermasqError)) throw error;
        unread.set(commandId, error);
      }
    }),
  );
  return { returned, unread };
}

async function readCommand(
  clients: Clients,
  commandId: string,
  ended: readonly Ended[],
  deadline: Deadline,
): Promise<Returned[]> {
  const finished = await readFinished(clients, commandId, deadline);
  const returned: Returned[] = [];
  for (const one of ended) {
    const invocation = finished.get(one.node.ref.id);
    if (!invocation) continue;
    const read = await readOne(clients, one.node, invocation, deadline);
    if (!isPast(one, read, invocation)) returned.push(read);
  }
  return returned;
}

/** Milliseconds that the clocks of SSM and of a function may differ; nobody pushes again within that. */
const skewMs = 500;

/**
 * Whether a newer push makes it past. A proof of the very rule set that was pushed again is none the less a proof;
 * how else an older push of it ended does not matter any more.
 */
function isPast(
  { node: { status }, requestedAt }: Ended,
  { proof }: Returned,
  { Comment }: Invocation,
): boolean {
  if (status?.word !== 'pushed' || status.at.getTime() <= requestedAt.getTime() + skewMs) return false;
  const isSame = parseComment(Comment ?? '')?.ruleSetId === status.pushed;
  return !(isSame && proof.result === 'reported' && proof.report.proven);
}

type Invocation = Parameters<typeof toProof>[2];

async function readOne(
  clients: Clients,
  node: Node,
  invocation: Invocation,
  deadline: Deadline,
): Promise<Returned> {
  const proof = await proofOrFailure(clients, node, invocation, deadline);
  const { generation, routes } = parseComment(invocation.Comment ?? '') ?? {};
  const report = proof.result === 'reported' ? proof.report : undefined;
  const [cluster] = node.clusters;
  return {
    proof,
    meant: {
      id: report?.offered ?? report?.id ?? '',
      generation: generation ?? Number.POSITIVE_INFINITY,
      warnings: [],
    },
    ...(cluster !== undefined && { cluster }),
    ...(routes !== undefined && { routes }),
  };
}

/** One invocation that stays unreadable is its node's failure, and keeps no other node from its proof. */
async function proofOrFailure(
  clients: Clients,
  node: Node,
  invocation: Invocation,
  deadline: Deadline,
): Promise<Proof> {
  try {
    return await toProof(clients, node, invocation, deadline);
  } catch (error) {
    const isShared = error instanceof PermanentError && error.code === 'access-denied';
    if (!(error instanceof PermanentError) || isShared) throw error;
    return { result: 'failed', node, error };
  }
}
