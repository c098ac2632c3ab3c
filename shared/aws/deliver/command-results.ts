import type { CommandInvocation } from '@aws-sdk/client-ssm';
import { PeermasqError, PermanentError } from '../../core/model/errors';
import { definedOnly, groupBy } from '../../core/util/collections';
import type { ProofResult } from '../../core/cloud';
import type { PushResponse } from '../../core/reconcile/evaluate-report';
import type { Access } from '../client/clients';
import type { AwsNode } from '../discover/nodes';
import { readFinishedInvocations } from './proofs';
import { parseComment, toProof } from './command';

/** A command that has finished on one instance. */
export interface FinishedCommand {
  readonly node: AwsNode;
  readonly commandId: string;
  readonly requestedAt: Date;
}

/** Whether the function or user that sent the command has already recorded its outcome. */
export function isRecorded({ node: { status }, requestedAt }: FinishedCommand): boolean {
  return status !== undefined && status.state !== 'pushed' && status.at >= requestedAt;
}

export interface CommandResults {
  readonly responses: readonly PushResponse[];
  /** The errors of commands whose results could not be read, by command id. */
  readonly unreadable: ReadonlyMap<string, PeermasqError>;
}

/** Reads the reports of commands for which the sender no longer waits. */
export async function readCommandResults(
  access: Access,
  finishedCommands: readonly FinishedCommand[],
): Promise<CommandResults> {
  const responses: PushResponse[] = [];
  const unreadable = new Map<string, PeermasqError>();
  const commands = groupBy(finishedCommands, ({ commandId }) => commandId);
  await Promise.all(
    [...commands].map(async ([commandId, some]) => {
      try {
        responses.push(...(await readCommand(access, commandId, some)));
      } catch (error) {
        if (!(error instanceof PeermasqError)) throw error;
        unreadable.set(commandId, error);
      }
    }),
  );
  return { responses, unreadable };
}

async function readCommand(
  access: Access,
  commandId: string,
  finishedCommands: readonly FinishedCommand[],
): Promise<PushResponse[]> {
  const invocations = await readFinishedInvocations(access, commandId);
  const responses: PushResponse[] = [];
  for (const finished of finishedCommands) {
    const invocation = invocations.get(finished.node.ref.id);
    if (!invocation) continue;
    const response = await readResponse(access, finished.node, invocation);
    if (!isSuperseded(finished, response, invocation)) responses.push(response);
  }
  return responses;
}

/**
 * The maximum difference between the clock of SSM and the clock of a function. No node receives two pushes within
 * this time.
 */
const clockSkewMs = 500;

/**
 * Whether a later push makes the response obsolete. If the later push sent the same rule set, a proof in the response
 * is still valid.
 */
function isSuperseded(
  { node: { status }, requestedAt }: FinishedCommand,
  { proof }: PushResponse,
  { Comment }: CommandInvocation,
): boolean {
  if (status?.state !== 'pushed' || status.at.getTime() <= requestedAt.getTime() + clockSkewMs) return false;
  const isSameRuleSet = parseComment(Comment ?? '')?.ruleSetId === status.ruleSet;
  return !(isSameRuleSet && proof.result === 'reported' && proof.report.proven);
}

async function readResponse(
  access: Access,
  node: AwsNode,
  invocation: CommandInvocation,
): Promise<PushResponse> {
  const proof = await proofOrError(access, node, invocation);
  const { generation, routes } = parseComment(invocation.Comment ?? '') ?? {};
  const report = proof.result === 'reported' ? proof.report : undefined;
  const [cluster] = node.clusters;
  const expected = {
    id: report?.offered ?? report?.id ?? '',
    generation: generation ?? Number.POSITIVE_INFINITY,
    warnings: [],
  };
  return definedOnly({ proof, expected, cluster, routes });
}

/** Returns errors as values, so that an unreadable invocation affects only its own node. */
async function proofOrError(
  access: Access,
  node: AwsNode,
  invocation: CommandInvocation,
): Promise<ProofResult<AwsNode>> {
  try {
    return await toProof(access, node, invocation);
  } catch (error) {
    const isOwn = error instanceof PermanentError && error.code !== 'access-denied';
    if (!isOwn) throw error;
    return { result: 'failed', node, error };
  }
}
