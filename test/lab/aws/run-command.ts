import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../../shared/core/model/errors';
import { runDocument } from './ssm-agent';
import type { AccountContext } from './server-state';
import { commandInvocationEvent } from './events';
import { isOnline, type AwsState, type LabAgent, type LabCommand, type LabInvocation } from './state';

/** The values of a document's parameters. */
type Values = Readonly<Record<string, string>>;

/** Accepts a command and starts its delivery to the instances. */
export function startCommand(context: AccountContext, command: LabCommand, values: Values): void {
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
  const running = runOnInstances(context, command, invocations, values);
  context.running.add(running);
  void running.finally(() => context.running.delete(running));
}

/** Parses a number of instances, given as a number or as a percentage of all instances. */
function resolveCount(value: string, all: number): number {
  const number = Number(value.replace('%', ''));
  return value.endsWith('%') ? Math.floor((all * number) / 100) : number;
}

/** Returns how many failures a command tolerates. */
export const maxErrorCount = ({ maxErrors, instanceIds }: LabCommand): number =>
  resolveCount(maxErrors, instanceIds.length);

/**
 * Runs a command on up to `MaxConcurrency` instances at a time. After more than `MaxErrors` failures, the command is
 * sent to no more instances, but instances that are running it continue.
 * https://docs.aws.amazon.com/systems-manager/latest/userguide/send-commands-multiple.html
 */
async function runOnInstances(
  context: AccountContext,
  command: LabCommand,
  invocations: readonly LabInvocation[],
  values: Values,
): Promise<void> {
  const left = [...invocations];
  let errors = 0;
  const runNext = async () => {
    for (let next = left.shift(); next; next = left.shift()) {
      if (errors > maxErrorCount(command)) finish(context, next, 'Cancelled', 'Terminated');
      else if (await waitUntilFetched(context, command, next)) await run(context, next, values);
      else finish(context, next, 'TimedOut', 'DeliveryTimedOut');
      if (next.status === 'Failed') errors += 1;
    }
  };
  const atOnce = Math.max(1, resolveCount(command.maxConcurrency, invocations.length));
  await Promise.all(Array.from({ length: Math.min(atOnce, invocations.length) }, runNext));
}

/** How often the lab checks whether an offline agent is online again. */
const pollMs = 20;

/** Returns whether the agent fetches the command before the command's delivery timeout. */
async function waitUntilFetched(
  { state, stopSignal }: AccountContext,
  { requestedAt, timeoutSeconds }: LabCommand,
  invocation: LabInvocation,
): Promise<boolean> {
  const endsAt = requestedAt + timeoutSeconds * state.secondMs;
  while (!canFetch(state, invocation.instanceId)) {
    if (Date.now() >= endsAt || stopSignal.aborted) return false;
    invocation.status = 'Delayed';
    invocation.statusDetails = 'Delayed';
    await sleep(pollMs);
  }
  return true;
}

function canFetch({ agents, instances }: AwsState, id: string): boolean {
  return isOnline(agents.get(id)) && instances.get(id)?.state === 'running';
}

const stdoutLimit = 24_000;
const stderrLimit = 8_000;

async function run(context: AccountContext, invocation: LabInvocation, values: Values): Promise<void> {
  const { state, emit } = context;
  invocation.status = 'InProgress';
  invocation.statusDetails = 'InProgress';
  emit(commandInvocationEvent(state, invocation));
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
  { state, stopSignal }: AccountContext,
  { instanceId, commandId, documentName }: LabInvocation,
  values: Values,
) {
  const agent = state.agents.get(instanceId);
  const document = state.documents.get(documentName);
  if (!agent || !document) throw new Error('The SSM agent or the document no longer exists');
  await pause(agent, stopSignal);
  return runDocument(agent, document, values, {
    SSM_COMMAND_ID: commandId,
    AWS_SSM_INSTANCE_ID: instanceId,
    AWS_SSM_REGION_NAME: state.region,
  });
}

async function pause({ commandDelayMs = 0 }: LabAgent, signal: AbortSignal): Promise<void> {
  if (commandDelayMs > 0) await sleep(commandDelayMs, undefined, { signal });
}

function finish(
  { state, emit }: AccountContext,
  invocation: LabInvocation,
  status: LabInvocation['status'],
  details: string,
): void {
  invocation.status = status;
  invocation.statusDetails = details;
  emit(commandInvocationEvent(state, invocation));
}
