import { randomUUID } from 'node:crypto';
import * as z from 'zod';
import { maxErrorCount, startCommand } from './run-command';
import type { AccountContext } from './server-state';
import { accessDenied } from './errors';
import { AwsApiError } from './api-error';
import {
  isOnline,
  isRegistered,
  paginate,
  type AwsState,
  type LabCommand,
  type LabInvocation,
} from './state';

/** SSM's awsJson1_1 protocol. https://docs.aws.amazon.com/systems-manager/latest/APIReference/ */
const managedId = z.string().regex(/^(i-(\w{8}|\w{17})|mi-\w{17})$/);
const nextToken = z.string().optional();

const informationInput = z.strictObject({
  Filters: z
    .array(
      z.strictObject({
        Key: z.enum(['InstanceIds', 'PingStatus']),
        Values: z.array(z.string()).min(1).max(100),
      }),
    )
    .default([]),
  MaxResults: z.number().int().min(5).max(50).default(10),
  NextToken: nextToken,
});

function describeInstanceInformation({ state }: AccountContext, input: unknown) {
  const { Filters, MaxResults, NextToken } = informationInput.parse(input);
  const registered = [...state.agents].filter(([, agent]) => isRegistered(agent));
  const selected = registered.filter(([id, { pingStatus }]) =>
    Filters.every(({ Key, Values }) => Values.includes(Key === 'InstanceIds' ? id : pingStatus)),
  );
  const [items, token] = paginate(selected, NextToken, Math.min(MaxResults, state.pageSize));
  return {
    InstanceInformationList: items.map(([InstanceId, { pingStatus, version, platformType }]) => ({
      InstanceId,
      PingStatus: pingStatus,
      AgentVersion: version,
      PlatformType: platformType,
      ResourceType: 'EC2Instance',
    })),
    NextToken: token,
  };
}

const sendInput = z.strictObject({
  DocumentName: z.string().regex(/^[a-zA-Z0-9_\-.:/]{3,128}$/),
  InstanceIds: z.array(managedId).min(1).max(50),
  Parameters: z.record(z.string(), z.array(z.string())).default({}),
  Comment: z.string().max(100).default(''),
  TimeoutSeconds: z.number().int().min(30).max(2_592_000).default(3_600),
  MaxConcurrency: z
    .string()
    .regex(/^([1-9][0-9]*|[1-9][0-9]?%|100%)$/)
    .default('50'),
  MaxErrors: z
    .string()
    .regex(/^(0|[1-9][0-9]*|[0-9]%|[1-9][0-9]%|100%)$/)
    .default('0'),
});

function sendCommand(context: AccountContext, input: unknown) {
  const { state } = context;
  const request = sendInput.parse(input);
  const { DocumentName, InstanceIds, Parameters } = request;
  const document = state.documents.get(DocumentName);
  if (!document)
    throw new AwsApiError('InvalidDocument', `Document with name ${DocumentName} does not exist.`);
  if (new Set(InstanceIds).size < InstanceIds.length) throw new AwsApiError('DuplicateInstanceId', '');
  validateParameters(document.parameters, Parameters);
  validateInstances(state, InstanceIds);

  const values = Object.fromEntries(Object.entries(Parameters).map(([name, [value = '']]) => [name, value]));
  const command: LabCommand = {
    commandId: randomUUID(),
    documentName: DocumentName,
    comment: request.Comment,
    requestedAt: Date.now(),
    instanceIds: InstanceIds,
    parameters: Parameters,
    timeoutSeconds: request.TimeoutSeconds,
    maxConcurrency: request.MaxConcurrency,
    maxErrors: request.MaxErrors,
  };
  startCommand(context, command, values);
  return { Command: { ...describe(command, []), TimeoutSeconds: request.TimeoutSeconds } };
}

function validateParameters(
  known: Readonly<Record<string, { allowedPattern: string; maxChars: number }>>,
  given: Readonly<Record<string, string[]>>,
): void {
  const invalidParameter = (message: string) => new AwsApiError('InvalidParameters', message);
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(known, name))
      throw invalidParameter(`Parameter "${name}" is not defined in the document.`);
  }
  for (const [name, { allowedPattern, maxChars }] of Object.entries(known)) {
    const [value, ...more] = given[name] ?? [];
    if (value === undefined || more.length > 0)
      throw invalidParameter(`Parameter "${name}" must be supplied with one value.`);
    if (value.length > maxChars)
      throw invalidParameter(`Parameter "${name}" exceeds ${maxChars} characters.`);
    if (!new RegExp(allowedPattern).test(value)) {
      throw invalidParameter(`Parameter "${name}" does not match the allowed pattern ${allowedPattern}.`);
    }
  }
}

function validateInstances({ agents, account, region }: AwsState, ids: readonly string[]): void {
  const forbidden = ids.find((id) => agents.get(id)?.isCommandDenied);
  if (forbidden) {
    throw accessDenied('ssm:SendCommand', account, `arn:aws:ec2:${region}:${account}:instance/${forbidden}`);
  }
  const invalid = ids.filter((id) => !isOnline(agents.get(id)));
  if (invalid.length > 0) {
    const message = `Instances [[${invalid.join(', ')}]] not in a valid state for account ${account}`;
    throw new AwsApiError('InvalidInstanceId', message);
  }
}

const commandsInput = z.strictObject({
  InstanceId: managedId.optional(),
  Filters: z
    .array(
      z.strictObject({
        key: z.enum(['InvokedAfter', 'InvokedBefore', 'Status', 'DocumentName']),
        value: z.string().min(1).max(128),
      }),
    )
    .max(5)
    .default([]),
  MaxResults: z.number().int().min(1).max(50).default(50),
  NextToken: nextToken,
});

/** Lists commands, with the newest command first. */
function listCommands({ state }: AccountContext, input: unknown) {
  const { InstanceId, Filters, MaxResults, NextToken } = commandsInput.parse(input);
  const described = escapeControls(state, state.commands)
    .filter(({ instanceIds }) => InstanceId === undefined || instanceIds.includes(InstanceId))
    .map((command) => describe(command, invocationsOf(state, command)))
    .filter((command) => Filters.every(({ key, value }) => isSelected(command, key, value)))
    .toReversed();
  const [Commands, token] = paginate(described, NextToken, Math.min(MaxResults, state.pageSize));
  return { Commands, NextToken: token };
}

const invocationsOf = ({ invocations }: AwsState, command: LabCommand) =>
  invocations.filter(({ commandId }) => commandId === command.commandId);

type CommandDescription = ReturnType<typeof describe>;

function describe(command: LabCommand, invocations: readonly LabInvocation[]) {
  const count = (...details: string[]) =>
    invocations.filter(({ statusDetails }) => details.includes(statusDetails)).length;
  const [Status, StatusDetails] = statusOf(command, invocations);
  return {
    CommandId: command.commandId,
    DocumentName: command.documentName,
    Comment: command.comment,
    InstanceIds: command.instanceIds,
    Parameters: command.parameters,
    MaxConcurrency: command.maxConcurrency,
    MaxErrors: command.maxErrors,
    RequestedDateTime: command.requestedAt / 1_000,
    Status,
    StatusDetails,
    TargetCount: command.instanceIds.length,
    CompletedCount: invocations.filter(hasEnded).length,
    ErrorCount: count('Failed', 'ExecutionTimedOut'),
    DeliveryTimedOutCount: count('DeliveryTimedOut'),
  };
}

const hasEnded = ({ status }: LabInvocation) => !['Pending', 'InProgress', 'Delayed'].includes(status);

/** https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_Command.html, StatusDetails */
function statusOf(command: LabCommand, invocations: readonly LabInvocation[]): [string, string] {
  if (invocations.every(({ status }) => status === 'Pending')) return ['Pending', 'Pending'];
  if (!invocations.every(hasEnded)) return ['InProgress', 'InProgress'];
  const exceedsMaxErrors = (wanted: string) =>
    invocations.filter(({ status }) => status === wanted).length > maxErrorCount(command);
  if (exceedsMaxErrors('Failed')) return ['Failed', 'Failed'];
  if (exceedsMaxErrors('TimedOut')) return ['TimedOut', 'DeliveryTimedOut'];
  return invocations.every(({ status }) => status === 'Success')
    ? ['Success', 'Success']
    : ['Failed', 'Incomplete'];
}

function isSelected(command: CommandDescription, key: string, value: string): boolean {
  if (key === 'DocumentName') return command.DocumentName === value;
  if (key === 'Status') return command.Status === value;
  const at = Date.parse(value);
  if (Number.isNaN(at)) throw new AwsApiError('InvalidFilterValue', `${key} is not a time: ${value}`);
  const requestedAt = command.RequestedDateTime * 1_000;
  return key === 'InvokedAfter' ? requestedAt >= at : requestedAt < at;
}

/** Returns whether a command is listed yet. SSM lists a command only some time after it was accepted. */
const escapeControls = <T extends { readonly requestedAt: number }>(
  { invocationVisibilityDelayMs }: AwsState,
  all: readonly T[],
): T[] => all.filter(({ requestedAt }) => requestedAt + invocationVisibilityDelayMs <= Date.now());

const listInput = z.strictObject({
  CommandId: z.uuid(),
  InstanceId: managedId.optional(),
  Details: z.boolean().default(false),
  MaxResults: z.number().int().min(1).max(50).default(50),
  NextToken: nextToken,
});

function listCommandInvocations({ state }: AccountContext, input: unknown) {
  const { CommandId, InstanceId, Details, MaxResults, NextToken } = listInput.parse(input);
  if (!state.invocations.some(({ commandId }) => commandId === CommandId)) {
    throw new AwsApiError('InvalidCommandId', '');
  }
  const selected = escapeControls(state, state.invocations).filter(
    ({ commandId, instanceId }) => commandId === CommandId && (InstanceId ?? instanceId) === instanceId,
  );
  const [items, token] = paginate(selected, NextToken, Math.min(MaxResults, state.pageSize));
  return {
    CommandInvocations: items.map((one) => ({
      ...basics(one),
      RequestedDateTime: one.requestedAt / 1_000,
      CommandPlugins: Details ? [plugin(one)] : [],
    })),
    NextToken: token,
  };
}

const basics = ({ commandId, instanceId, comment, documentName, status, statusDetails }: LabInvocation) => ({
  CommandId: commandId,
  InstanceId: instanceId,
  Comment: comment,
  DocumentName: documentName,
  Status: status,
  StatusDetails: statusDetails,
});

/**
 * Returns the output of a step: stdout and stderr together, truncated to 2,500 characters (`TruncateOutput` in the
 * agent's `iohandler.go`).
 */
function plugin({ status, statusDetails, responseCode, stdout, stderr }: LabInvocation) {
  const both = stderr ? `${stdout}\n----------ERROR-------\n${stderr}` : stdout;
  const cut = '\n---Output truncated---';
  const Output = both.length < 2_500 ? both : both.slice(0, 2_500 - cut.length) + cut;
  return { Name: 'apply', Status: status, StatusDetails: statusDetails, ResponseCode: responseCode, Output };
}

const getInput = z.strictObject({
  CommandId: z.uuid(),
  InstanceId: managedId,
  PluginName: z.string().optional(),
});

function getCommandInvocation({ state }: AccountContext, input: unknown) {
  const { CommandId, InstanceId } = getInput.parse(input);
  const found = escapeControls(state, state.invocations).find(
    ({ commandId, instanceId }) => commandId === CommandId && instanceId === InstanceId,
  );
  if (!found) throw new AwsApiError('InvocationDoesNotExist', '');
  return {
    ...basics(found),
    PluginName: 'apply',
    ResponseCode: found.responseCode,
    StandardOutputContent: found.stdout,
    StandardErrorContent: found.stderr,
  };
}

const actions: Readonly<Record<string, (context: AccountContext, input: unknown) => object>> = {
  DescribeInstanceInformation: describeInstanceInformation,
  SendCommand: sendCommand,
  ListCommands: listCommands,
  ListCommandInvocations: listCommandInvocations,
  GetCommandInvocation: getCommandInvocation,
};

/**
 * Handles a call.
 * @returns the response as JSON
 * @throws AwsRefusal
 */
export function handleSsm(context: AccountContext, action: string, input: unknown): string {
  const act = Object.hasOwn(actions, action) ? actions[action] : undefined;
  if (!act) throw new AwsApiError('UnknownOperationException', '');
  try {
    return JSON.stringify(act(context, input));
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    const messages = error.issues.map(
      ({ path, message }) => `Value at '${path.join('.')}' failed: ${message}`,
    );
    const count = `${messages.length} validation error${messages.length === 1 ? '' : 's'} detected`;
    throw new AwsApiError('ValidationException', `${count}: ${messages.join('; ')}`);
  }
}
