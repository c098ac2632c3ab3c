import { setTimeout as sleep } from 'node:timers/promises';
import {
  GetCommandInvocationCommand,
  ListCommandInvocationsCommand,
  ListCommandsCommand,
  type CommandFilter,
  type CommandInvocation,
} from '@aws-sdk/client-ssm';
import { PeermasqError, PermanentError, RetryableError } from '../../core/model/errors';
import { groupBy } from '../../core/util/collections';
import type { AwsNode } from '../discover/nodes';
import type { Deadline, ProofResult, PushedNode } from '../../core/cloud';
import { parseReport, type Report } from '../../core/model/report';
import { allPages, call } from '../client/call';
import type { Clients } from '../client/clients';

/** Left of the invocation's time for what follows the proofs. */
const reserveMs = 2_000;

/** A node that takes longer is told of by an event (functions/aws/command-finished.ts); the others need not wait. */
const maxWaitMs = 25_000;

export interface AwaitOptions {
  /** The name of the document that was sent. */
  readonly document: string;
  /** Before the first look, and half as much again before each further one. */
  readonly firstPollMs: number;
}

/**
 * Waits for the ends of commands. One call a look tells which are over, whatever their number; the invocations
 * of each are then read once.
 */
export async function proofs(
  clients: Clients,
  pushed: readonly PushedNode<AwsNode>[],
  { document, firstPollMs }: AwaitOptions,
  deadline: Deadline,
): Promise<ProofResult<AwsNode>[]> {
  const since = new Date(Date.now() - sentWithinMs);
  const until = Math.min(deadline - reserveMs, Date.now() + maxWaitMs);
  const waiting = new Map<string, readonly PushedNode<AwsNode>[]>(groupBy(pushed, ({ id }) => id));
  const done: ProofResult<AwsNode>[] = [];
  for (let pauseMs = firstPollMs; waiting.size > 0; pauseMs = Math.min(pauseMs * 1.5, maxPauseMs)) {
    const isLast = Date.now() + pauseMs >= until;
    await sleep(Math.max(0, Math.min(pauseMs, until - Date.now())));
    // At the last look also commands of which some nodes have answered and some have not.
    const finishedIds = isLast
      ? new Set(waiting.keys())
      : ((await undefinedIfNotReady(readFinishedIds(clients, document, since, deadline))) ?? new Set());
    for (const [id, nodes] of [...waiting].filter(([command]) => finishedIds.has(command))) {
      const { answered, silent } = await readCommandProofs(clients, id, nodes, deadline);
      done.push(...answered);
      if (silent.length > 0) waiting.set(id, silent);
      else waiting.delete(id);
    }
    if (isLast) break;
  }
  return [...done, ...[...waiting.values()].flat().map(toSilent)];
}

/** No invocation sends for longer. */
const sentWithinMs = 900_000;
const maxPauseMs = 5_000;

function toSilent({ node, id }: PushedNode<AwsNode>): ProofResult<AwsNode> {
  const reason = `it has not answered command ${id} yet`;
  return { result: 'no-report', node, reason, retryAfterSeconds: 10 };
}

/** What the next look may find: throttling passes, and a command is not at once known everywhere in SSM. */
export async function undefinedIfNotReady<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    const isUnknown = error instanceof PermanentError && /^Invocation|^InvalidCommandId$/.test(error.code);
    if (error instanceof RetryableError || isUnknown) return undefined;
    throw error;
  }
}

/** The commands with this document that have ended on all of their nodes. */
async function readFinishedIds(
  { ssm }: Clients,
  document: string,
  since: Date,
  deadline: Deadline,
): Promise<Set<string>> {
  const Filters: CommandFilter[] = [
    { key: 'DocumentName', value: document },
    { key: 'InvokedAfter', value: since.toISOString() },
  ];
  const pages = await allPages((next) =>
    call('ssm:ListCommands', deadline, (options) =>
      ssm.send(new ListCommandsCommand({ Filters, MaxResults: 50, ...next }), options),
    ),
  );
  const finishedIds = pages.flatMap(({ Commands = [] }) => Commands).filter(isFinished);
  return new Set(finishedIds.flatMap(({ CommandId }) => CommandId ?? []));
}

export const isFinished = ({ Status = '' }: { readonly Status?: string | undefined }) =>
  /^(Success|Failed|TimedOut|Cancelled)$/.test(Status);

/** What the nodes of one command say, and which have not said anything yet. */
async function readCommandProofs(
  clients: Clients,
  commandId: string,
  nodes: readonly PushedNode<AwsNode>[],
  deadline: Deadline,
): Promise<{ answered: ProofResult<AwsNode>[]; silent: PushedNode<AwsNode>[] }> {
  const finished = await undefinedIfNotReady(readFinished(clients, commandId, deadline));
  const answered: ProofResult<AwsNode>[] = [];
  const silent: PushedNode<AwsNode>[] = [];
  for (const one of nodes) {
    const invocation = finished?.get(one.node.ref.id);
    const proof = invocation && (await undefinedIfNotReady(toProof(clients, one.node, invocation, deadline)));
    if (proof) answered.push(proof);
    else silent.push(one);
  }
  return { answered, silent };
}

/** Instance → its finished invocation. One page tells of 50 nodes, and holds all but long outputs. */
export async function readFinished({ ssm }: Clients, CommandId: string, deadline: Deadline) {
  const pages = await allPages((next) =>
    call('ssm:ListCommandInvocations', deadline, (options) =>
      ssm.send(
        new ListCommandInvocationsCommand({ CommandId, Details: true, MaxResults: 50, ...next }),
        options,
      ),
    ),
  );
  return new Map(
    pages
      .flatMap(({ CommandInvocations = [] }) => CommandInvocations)
      .filter(isFinished)
      .map((invocation) => [invocation.InstanceId ?? '', invocation]),
  );
}

export async function toProof(
  clients: Clients,
  node: AwsNode,
  invocation: CommandInvocation,
  deadline: Deadline,
): Promise<ProofResult<AwsNode>> {
  const failure = deliveryError(invocation);
  if (failure) return { result: 'failed', node, error: failure };
  const report = await readReport(clients, invocation, deadline);
  return report instanceof PeermasqError
    ? { result: 'failed', node, error: report }
    : { result: 'reported', node, report };
}

/** Status details with which the program did not run to its end, and whether another push can help. */
const deliveryFailures: Readonly<Record<string, { readonly retry: boolean; readonly why: string }>> = {
  deliverytimedout: { retry: true, why: 'its agent did not fetch the command in time' },
  executiontimedout: { retry: true, why: 'the node program was stopped because it took too long' },
  undeliverable: { retry: true, why: 'the command could not be delivered to its agent' },
  terminated: { retry: true, why: 'the command ended before it reached the node' },
  rateexceeded: { retry: true, why: 'the node has too many commands waiting' },
  // Whoever cancels a command wants it not to run.
  cancelled: { retry: false, why: 'the command was cancelled' },
  invalidplatform: { retry: false, why: 'the document does not run on its platform' },
  accessdenied: { retry: false, why: 'the command is not allowed on it' },
};

export function deliveryError({
  StatusDetails = '',
  CommandId = '',
}: Pick<CommandInvocation, 'StatusDetails' | 'CommandId'>): PeermasqError | undefined {
  const failure = deliveryFailures[StatusDetails.replaceAll(/[\s_]/g, '').toLowerCase()];
  if (!failure) return undefined;
  const message = `SSM command ${CommandId} ended as ${StatusDetails}: ${failure.why}`;
  const advice = 'Look at the SSM agent on the node, and at the command in Systems Manager, Run Command.';
  return failure.retry
    ? new RetryableError('command-not-run', message, advice, 30)
    : new PermanentError('command-not-run', message, advice);
}

/** The report is the first line; the listing cuts outputs at 2,500 characters, the invocation at 24,000. */
async function readReport(
  { ssm }: Clients,
  { CommandId, InstanceId, CommandPlugins: [plugin] = [] }: CommandInvocation,
  deadline: Deadline,
): Promise<Report | PermanentError> {
  const listed = reportIn(plugin?.Output);
  if (!(listed instanceof PermanentError)) return listed;
  const whole = await call('ssm:GetCommandInvocation', deadline, (options) =>
    ssm.send(new GetCommandInvocationCommand({ CommandId, InstanceId }), options),
  );
  return whole.StandardOutputContent
    ? reportIn(whole.StandardOutputContent)
    : noReport(whole.ResponseCode, whole.StandardErrorContent);
}

function reportIn(output = ''): Report | PermanentError {
  try {
    return parseReport(output.split('\n', 1)[0] ?? '');
  } catch (error) {
    if (error instanceof PermanentError) return error;
    throw error;
  }
}

/** Permanent: the same program on the same node ends the same way, and the sweep tries it again anyway. */
function noReport(code: number | undefined, stderr = ''): PermanentError {
  return new PermanentError(
    'no-report',
    `The node program ended with ${code ?? 'no exit code'} and no report: ${stderr.trim().slice(-500) || 'it printed nothing'}`,
    'Look at the output of the command on the node: bash may be missing, or /var/lib not writable.',
  );
}
