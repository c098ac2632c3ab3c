import { GetCommandInvocationCommand, SendCommandCommand, type CommandInvocation } from '@aws-sdk/client-ssm';
import { PermanentError, RetryableError, type PeermasqError } from '../../core/model/errors';
import { parseReport, type Report } from '../../core/model/report';
import type { ProofResult } from '../../core/cloud';
import { ruleSetId, type RuleSet } from '../../core/model/rule-set';
import { call } from '../client/call';
import type { Access } from '../client/clients';
import type { AwsNode } from '../discover/nodes';
import { pushTimeoutMs } from '../discover/recorded-status';
import { ruleSetParameter } from '../names';

/**
 * The values in the comment of a command. Processes other than the sender of the command read them from the comment.
 */
interface CommandComment {
  readonly ruleSetId: string;
  readonly generation: number;
  readonly routes: number;
}

/** Returns at most 100 characters, the limit for comments (SSM API reference, SendCommand). */
export function formatComment({ ruleSetId: id, generation, routes }: CommandComment): string {
  return `peermasq ${id.slice(0, 12)} generation ${generation} routes ${routes}`;
}

const commentPattern =
  /^peermasq (?<id>[0-9a-f]{12}) generation (?<generation>\d{1,15}) routes (?<routes>\d{1,6})$/;

/**
 * Returns undefined for a command that another tool sent. A comment contains only the first characters of the rule
 * set id.
 */
export function parseComment(text: string): CommandComment | undefined {
  const { id, generation, routes } = commentPattern.exec(text)?.groups ?? {};
  if (id === undefined || generation === undefined || routes === undefined) return undefined;
  return { ruleSetId: id, generation: Number(generation), routes: Number(routes) };
}

export interface RuleSetCommand {
  /** The name of the SSM document. */
  readonly document: string;
  readonly ruleSet: RuleSet;
  /** The packed rule set, as `packRuleSet` returns it. */
  readonly packed: string;
  readonly routes: number;
}

/** @returns the id of the SSM command */
export async function sendRuleSet(
  { clients: { ssm, waitToSend }, deadline }: Access,
  { document, ruleSet, packed, routes }: RuleSetCommand,
  instanceIds: string[],
): Promise<string> {
  await waitToSend(deadline);
  const { generation } = ruleSet;
  const command = new SendCommandCommand({
    DocumentName: document,
    InstanceIds: instanceIds,
    Parameters: { [ruleSetParameter]: [packed] },
    Comment: formatComment({ ruleSetId: ruleSetId(ruleSet), generation, routes }),
    // The time limit for the start of the command. A late start is harmless, because the node refuses a rule set if it
    // already has one with a higher generation.
    TimeoutSeconds: pushTimeoutMs / 1_000,
    MaxConcurrency: '100%',
    // With the default of 0, SSM skips the remaining nodes after the first failure.
    MaxErrors: '100%',
  });
  const { Command } = await call('ssm:SendCommand', deadline, (options) => ssm.send(command, options));
  return Command?.CommandId ?? '';
}

export const isFinished = ({ Status = '' }: { readonly Status?: string | undefined }): boolean =>
  /^(Success|Failed|TimedOut|Cancelled)$/.test(Status);

/** Returns the proof from a finished invocation. */
export async function toProof(
  access: Access,
  node: AwsNode,
  invocation: CommandInvocation,
): Promise<ProofResult<AwsNode>> {
  const undelivered = deliveryError(invocation);
  if (undelivered) return { result: 'failed', node, error: undelivered };
  const report = await readReport(access, invocation);
  return report instanceof PermanentError
    ? { result: 'failed', node, error: report }
    : { result: 'reported', node, report };
}

interface DeliveryFailure {
  /** Whether another push may succeed. */
  readonly isRetryable: boolean;
  readonly reason: string;
}

/** SSM's status details for commands that did not run to completion, without spaces and in lower case. */
const deliveryFailures: Readonly<Record<string, DeliveryFailure>> = {
  deliverytimedout: { isRetryable: true, reason: 'the SSM agent did not fetch the command in time' },
  executiontimedout: { isRetryable: true, reason: 'the node program timed out' },
  undeliverable: { isRetryable: true, reason: 'SSM could not deliver the command to the SSM agent' },
  terminated: { isRetryable: true, reason: 'the command ended before it reached the node' },
  rateexceeded: { isRetryable: true, reason: 'too many commands are pending for the node' },
  cancelled: { isRetryable: false, reason: 'the command was cancelled' },
  invalidplatform: { isRetryable: false, reason: 'the document does not support the platform of the node' },
  accessdenied: { isRetryable: false, reason: 'the sender may not run commands on the node' },
};

/** Returns undefined if the node program ran to completion. */
export function deliveryError({
  StatusDetails = '',
  CommandId = '',
}: Pick<CommandInvocation, 'StatusDetails' | 'CommandId'>): PeermasqError | undefined {
  const failure = deliveryFailures[StatusDetails.replaceAll(/[\s_]/g, '').toLowerCase()];
  if (!failure) return undefined;
  const message = `SSM command ${CommandId} ended as ${StatusDetails}: ${failure.reason}`;
  const advice =
    'Check the SSM agent on the node, and find the command under Run Command in Systems Manager.';
  return failure.isRetryable
    ? new RetryableError('command-not-run', message, { advice, retryAfterSeconds: 30 })
    : new PermanentError('command-not-run', message, { advice });
}

/**
 * Reads the report from the first line of the output. Outputs are truncated to 2,500 characters in listings and to
 * 24,000 characters in single invocations.
 */
async function readReport(
  { clients: { ssm }, deadline }: Access,
  { CommandId, InstanceId, CommandPlugins: [plugin] = [] }: CommandInvocation,
): Promise<Report | PermanentError> {
  const listed = reportIn(plugin?.Output);
  if (!(listed instanceof PermanentError)) return listed;
  const invocation = await call('ssm:GetCommandInvocation', deadline, (options) =>
    ssm.send(new GetCommandInvocationCommand({ CommandId, InstanceId }), options),
  );
  return invocation.StandardOutputContent
    ? reportIn(invocation.StandardOutputContent)
    : noReport(invocation.ResponseCode, invocation.StandardErrorContent);
}

function reportIn(output = ''): Report | PermanentError {
  try {
    return parseReport(output.split('\n', 1)[0] ?? '');
  } catch (error) {
    if (error instanceof PermanentError) return error;
    throw error;
  }
}

/**
 * Returns a permanent error, because the program would fail in the same way if it ran again soon. The next sweep runs
 * it again anyway.
 */
function noReport(exitCode: number | undefined, stderr = ''): PermanentError {
  const output = stderr.trim().slice(-500) || 'no output';
  return new PermanentError(
    'no-report',
    `The node program exited with ${exitCode ?? 'no code'} and printed no report: ${output}`,
    { advice: 'Check the output of the command on the node: bash may be missing, or /var/lib read-only.' },
  );
}
