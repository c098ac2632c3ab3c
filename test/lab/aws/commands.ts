import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../../shared/core/errors';
import { runDocument } from './agent';
import type { Context } from './context';
import { invocationChanged } from './events';
import { isOnline, type AwsState, type LabAgent, type LabCommand, type LabInvocation } from './state';

/** Of the document's parameters. */
type Values = Readonly<Record<string, string>>;

/** Takes a command, and hands it to its instances from now on. */
export function startCommand(context: Context, command: LabCommand, values: Values): void {
  const { commandId, documentName, comment, requestedAt, instanceIds } = command;
  const invocations = instanceIds.map((instanceId): LabInvocation => ({
    ...{ commandId, instanceId, documentName, comment, requestedAt },
    status: 'Pending',
    statusDetails: 'Pending',
    responseCode: -1,
    stdout: '',
    stderr: '',
  }));
  context.state.commands.push(command);
  context.state.invocations.push(...invocations);
  const running = handOut(context, command, invocations, values);
  context.running.add(running);
  void running.finally(() => context.running.delete(running));
}

/** A share of all: a number, or a percentage. */
function shareOf(value: string, all: number): number {
  const number = Number(value.replace('%', ''));
  return value.endsWith('%') ? Math.floor((all * number) / 100) : number;
}

/** So many failures does a command endure. */
export const errorsAllowed = ({ maxErrors, instanceIds }: LabCommand): number =>
  shareOf(maxErrors, instanceIds.length);

/**
 * At most `MaxConcurrency` at once. After more than `MaxErrors` failures no further instance gets it; those
 * that have it go on. https://docs.aws.amazon.com/systems-manager/latest/userguide/send-commands-multiple.html
 */
async function handOut(
  context: Context,
  command: LabCommand,
  invocations: readonly LabInvocation[],
  values: Values,
): Promise<void> {
  const left = [...invocations];
  let errors = 0;
  const hand = async () => {
    for (let next = left.shift(); next; next = left.shift()) {
      if (errors > errorsAllowed(command)) finish(context, next, 'Cancelled', 'Terminated');
      else if (await isFetched(context, command, next)) await run(context, next, values);
      else finish(context, next, 'TimedOut', 'DeliveryTimedOut');
      if (next.status === 'Failed') errors += 1;
    }
  };
  const atOnce = Math.max(1, shareOf(command.maxConcurrency, invocations.length));
  await Promise.all(Array.from({ length: Math.min(atOnce, invocations.length) }, hand));
}

/** How often an agent that is away is looked for. */
const lookMs = 20;

/** Whether the agent comes for the command before its time is over. */
async function isFetched(
  { state, stopping }: Context,
  { requestedAt, timeoutSeconds }: LabCommand,
  invocation: LabInvocation,
): Promise<boolean> {
  const endsAt = requestedAt + timeoutSeconds * state.secondMs;
  while (!canFetch(state, invocation.instanceId)) {
    if (Date.now() >= endsAt || stopping.aborted) return false;
    invocation.status = 'Delayed';
    invocation.statusDetails = 'Delayed';
    await sleep(lookMs);
  }
  return true;
}

function canFetch({ agents, instances }: AwsState, id: string): boolean {
  return isOnline(agents.get(id)) && instances.get(id)?.state === 'running';
}

const stdoutLimit = 24_000;
const stderrLimit = 8_000;

async function run(context: Context, invocation: LabInvocation, values: Values): Promise<void> {
  const { state, emit } = context;
  invocation.status = 'InProgress';
  invocation.statusDetails = 'InProgress';
  emit(invocationChanged(state, invocation));
  const { status, stdout, stderr } = await runOnAgent(context, invocation, values).catch(
    (error: unknown) => ({
      status: 1,
      stdout: '',
      stderr: `failed to run commands: ${messageOf(error)}`,
    }),
  );
  invocation.stdout = stdout.slice(0, stdoutLimit);
  invocation.stderr = stderr.slice(0, stderrLimit);
  invocation.responseCode = status;
  const result = status === 0 ? 'Success' : 'Failed';
  finish(context, invocation, result, result);
}

async function runOnAgent(
  { state, stopping }: Context,
  { instanceId, commandId, documentName }: LabInvocation,
  values: Values,
) {
  const agent = state.agents.get(instanceId);
  const document = state.documents.get(documentName);
  if (!agent || !document) throw new Error('Its agent or its document is gone');
  await pause(agent, stopping);
  return runDocument(agent, document, values, {
    SSM_COMMAND_ID: commandId,
    AWS_SSM_INSTANCE_ID: instanceId,
    AWS_SSM_REGION_NAME: state.region,
  });
}

async function pause({ answersAfterMs = 0 }: LabAgent, signal: AbortSignal): Promise<void> {
  if (answersAfterMs > 0) await sleep(answersAfterMs, undefined, { signal });
}

function finish(
  { state, emit }: Context,
  invocation: LabInvocation,
  status: LabInvocation['status'],
  details: string,
): void {
  invocation.status = status;
  invocation.statusDetails = details;
  emit(invocationChanged(state, invocation));
}
