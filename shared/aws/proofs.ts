import { setTimeout as sleep } from 'node:timers/promises';
import {
  GetCommandInvocationCommand,
  ListCommandInvocationsCommand,
  type CommandInvocation,
} from '@aws-sdk/client-ssm';
import { PeermasqError, PermanentError, RetryableError } from '../core/errors';
import type { Deadline, Proof, Pushed } from '../core/ports';
import { parseReport, type Report } from '../core/report';
import { allPages, call, type Clients } from './clients';

/** Left of the invocation's time for what follows the proofs. */
const reserveMs = 2_000;

export async function proofs(
  clients: Clients,
  pushed: readonly Pushed[],
  firstLookMs: number,
  deadline: Deadline,
): Promise<Proof[]> {
  const waiting = new Set(pushed);
  const done: Proof[] = [];
  let pauseMs = firstLookMs;
  while (waiting.size > 0 && Date.now() + pauseMs < deadline - reserveMs) {
    await sleep(pauseMs);
    for (const commandId of new Set([...waiting].map(({ id }) => id))) {
      const finished = await orLater(readFinished(clients, commandId, deadline));
      for (const one of [...waiting].filter(({ id }) => id === commandId)) {
        const invocation = finished?.get(one.node.ref.id);
        const proof = invocation && (await orLater(toProof(clients, one, invocation, deadline)));
        if (!proof) continue;
        waiting.delete(one);
        done.push(proof);
      }
    }
    pauseMs = Math.min(pauseMs * 1.5, 15_000);
  }
  const silent = [...waiting].map(({ node, id }): Proof => {
    const reason = `it has not answered command ${id} yet`;
    return { result: 'silent', node, reason, retryAfterSeconds: 10 };
  });
  return [...done, ...silent];
}

/** What the next look may find: throttling passes, and a command is not at once known everywhere in SSM. */
async function orLater<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    const isUnknown = error instanceof PermanentError && /^Invocation|^InvalidCommandId$/.test(error.code);
    if (error instanceof RetryableError || isUnknown) return undefined;
    throw error;
  }
}

/** Instance → its finished invocation. One page tells of 50 nodes, and holds all but long outputs. */
async function readFinished({ ssm }: Clients, CommandId: string, deadline: Deadline) {
  const pages = await allPages((next) =>
    call('ssm:ListCommandInvocations', deadline, (options) =>
      ssm.send(
        new ListCommandInvocationsCommand({ CommandId, Details: true, MaxResults: 50, ...next }),
        options,
      ),
    ),
  );
  const isOver = ({ Status }: CommandInvocation) =>
    /^(Success|Failed|TimedOut|Cancelled)$/.test(Status ?? '');
  return new Map(
    pages
      .flatMap(({ CommandInvocations = [] }) => CommandInvocations)
      .filter(isOver)
      .map((invocation) => [invocation.InstanceId ?? '', invocation]),
  );
}

async function toProof(
  clients: Clients,
  { node, id }: Pushed,
  invocation: CommandInvocation,
  deadline: Deadline,
): Promise<Proof> {
  const failure = undelivered(invocation);
  if (failure) return { result: 'failed', node, error: failure };
  const report = await readReport(clients, id, node.ref.id, invocation, deadline);
  return report instanceof PeermasqError
    ? { result: 'failed', node, error: report }
    : { result: 'reported', node, report };
}

/** Status details with which the program did not run to its end, and whether another push can help. */
const failures: Readonly<Record<string, { readonly retry: boolean; readonly why: string }>> = {
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

function undelivered({ StatusDetails = '', CommandId = '' }: CommandInvocation): PeermasqError | undefined {
  const failure = failures[StatusDetails.replaceAll(/[\s_]/g, '').toLowerCase()];
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
  CommandId: string,
  InstanceId: string,
  { CommandPlugins: [plugin] = [] }: CommandInvocation,
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
