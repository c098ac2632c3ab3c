import { GetCommandInvocationCommand, type CommandInvocation } from '@aws-sdk/client-ssm';
import { PermanentError, RetryableError, type PeermasqError } from '../../core/model/errors';
import { parseReport, type Report } from '../../core/model/report';
import type { ProofResult } from '../../core/cloud';
import { call } from '../client/call';
import type { Access } from '../client/clients';
import type { AwsNode } from '../discover/nodes';

export const isFinished = ({ Status = '' }: { readonly Status?: string | undefined }): boolean =>
  /^(Success|Failed|TimedOut|Cancelled)$/.test(Status);

/** The proof from a finished invocation. */
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
  /** Another push may succeed. */
  readonly isRetryable: boolean;
  readonly reason: string;
}

/** Status details of commands that did not run to their end. */
const deliveryFailures: Readonly<Record<string, DeliveryFailure>> = {
  deliverytimedout: { isRetryable: true, reason: 'the SSM agent did not fetch the command in time' },
  executiontimedout: { isRetryable: true, reason: 'the node program timed out' },
  undeliverable: { isRetryable: true, reason: 'the command could not be delivered to the SSM agent' },
  terminated: { isRetryable: true, reason: 'the command ended before it reached the node' },
  rateexceeded: { isRetryable: true, reason: 'too many commands are pending for the node' },
  cancelled: { isRetryable: false, reason: 'the command was cancelled' },
  invalidplatform: { isRetryable: false, reason: 'the document does not support the platform of the node' },
  accessdenied: { isRetryable: false, reason: 'the command is not allowed on the node' },
};

/** Undefined when the node program ran to its end. */
export function deliveryError({
  StatusDetails = '',
  CommandId = '',
}: Pick<CommandInvocation, 'StatusDetails' | 'CommandId'>): PeermasqError | undefined {
  const failure = deliveryFailures[StatusDetails.replaceAll(/[\s_]/g, '').toLowerCase()];
  if (!failure) return undefined;
  const message = `SSM command ${CommandId} ended as ${StatusDetails}: ${failure.reason}`;
  const advice = 'Check the SSM agent on the node, and the command in Systems Manager, Run Command.';
  return failure.isRetryable
    ? new RetryableError('command-not-run', message, advice, 30)
    : new PermanentError('command-not-run', message, advice);
}

/** The report is the first line. Listings truncate output at 2,500 characters, the invocation itself at 24,000. */
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

/** Permanent: the program would end the same way again, and the sweep retries it anyway. */
function noReport(exitCode: number | undefined, stderr = ''): PermanentError {
  const output = stderr.trim().slice(-500) || 'no output';
  return new PermanentError(
    'no-report',
    `The node program exited with ${exitCode ?? 'no code'} and without a report: ${output}`,
    'Check the output of the command on the node: bash may be missing, or /var/lib read-only.',
  );
}
