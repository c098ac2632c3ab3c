import { PeermasqError, PermanentError } from '../../core/model/errors';
import { groupBy } from '../../core/util/collections';
import type { Deadline, ProofResult } from '../../core/cloud';
import type { PushResponse } from '../../core/reconcile/record-outcomes';
import type { Clients } from '../client/clients';
import { parseComment } from './command-comment';
import type { AwsNode } from '../discover/nodes';
import { readFinished, toProof } from './proofs';

/** A command that has ended on an instance, as an event tells it. */
export interface FinishedCommand {
  readonly node: AwsNode;
  readonly commandId: string;
  readonly requestedAt: Date;
}

/** Whether whoever pushed has recorded how it ended already. */
export function isRecorded({ node: { status }, requestedAt }: FinishedCommand): boolean {
  return status !== undefined && status.outcome !== 'pushed' && status.at >= requestedAt;
}

export interface CommandResults {
  readonly responses: readonly PushResponse[];
  /** Commands that could not be read, and why; the others are not kept from being told. */
  readonly unreadable: ReadonlyMap<string, PeermasqError>;
}

/** What nodes say whose commands nobody waits for any more. */
export async function readCommandResults(
  clients: Clients,
  finishedCommands: readonly FinishedCommand[],
  deadline: Deadline,
): Promise<CommandResults> {
  const responses: PushResponse[] = [];
  const unreadable = new Map<string, PeermasqError>();
  const commands = groupBy(finishedCommands, (one) => one.commandId);
  await Promise.all(
    [...commands].map(async ([commandId, some]) => {
      try {
        responses.push(...(await readCommand(clients, commandId, some, deadline)));
      } catch (error) {
        if (!(error instanceof PeermasqError)) throw error;
        unreadable.set(commandId, error);
      }
    }),
  );
  return { responses, unreadable };
}

async function readCommand(
  clients: Clients,
  commandId: string,
  finishedCommands: readonly FinishedCommand[],
  deadline: Deadline,
): Promise<PushResponse[]> {
  const finished = await readFinished(clients, commandId, deadline);
  const responses: PushResponse[] = [];
  for (const one of finishedCommands) {
    const invocation = finished.get(one.node.ref.id);
    if (!invocation) continue;
    const read = await readResponse(clients, one.node, invocation, deadline);
    if (!isSuperseded(one, read, invocation)) responses.push(read);
  }
  return responses;
}

/** Milliseconds that the clocks of SSM and of a function may differ; nobody pushes again within that. */
const clockSkewMs = 500;

/**
 * Whether a newer push makes it past. A proof of the very rule set that was pushed again is none the less a proof;
 * how else an older push of it ended does not matter any more.
 */
function isSuperseded(
  { node: { status }, requestedAt }: FinishedCommand,
  { proof }: PushResponse,
  { Comment }: Invocation,
): boolean {
  if (status?.outcome !== 'pushed' || status.at.getTime() <= requestedAt.getTime() + clockSkewMs)
    return false;
  const isSame = parseComment(Comment ?? '')?.ruleSetId === status.ruleSet;
  return !(isSame && proof.result === 'reported' && proof.report.proven);
}

type Invocation = Parameters<typeof toProof>[2];

async function readResponse(
  clients: Clients,
  node: AwsNode,
  invocation: Invocation,
  deadline: Deadline,
): Promise<PushResponse> {
  const proof = await proofOrError(clients, node, invocation, deadline);
  const { generation, routes } = parseComment(invocation.Comment ?? '') ?? {};
  const report = proof.result === 'reported' ? proof.report : undefined;
  const [cluster] = node.clusters;
  return {
    proof,
    expected: {
      id: report?.offered ?? report?.id ?? '',
      generation: generation ?? Number.POSITIVE_INFINITY,
      warnings: [],
    },
    ...(cluster !== undefined && { cluster }),
    ...(routes !== undefined && { routes }),
  };
}

/** One invocation that stays unreadable is its node's failure, and keeps no other node from its proof. */
async function proofOrError(
  clients: Clients,
  node: AwsNode,
  invocation: Invocation,
  deadline: Deadline,
): Promise<ProofResult<AwsNode>> {
  try {
    return await toProof(clients, node, invocation, deadline);
  } catch (error) {
    const isShared = error instanceof PermanentError && error.code === 'access-denied';
    if (!(error instanceof PermanentError) || isShared) throw error;
    return { result: 'failed', node, error };
  }
}
