import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { messageOf } from '../../../shared/core/errors';
import { runDocument } from './agent';
import type { Context } from './context';
import { invocationChanged } from './events';
import { denial } from './refusals';
import { AwsRefusal, paginate, type AwsState, type LabAgent, type LabInvocation } from './state';

/** SSM's awsJson1_1 protocol. https://docs.aws.amazon.com/systems-manager/latest/APIReference/ */
const managedId = z.string().regex(/^(i-(\w{8}|\w{17})|mi-\w{17})$/);
const nextToken = z.string().optional();

const isRegistered = (agent: LabAgent | undefined): agent is LabAgent =>
  agent !== undefined && agent.registersAt <= Date.now();

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

function describeInstanceInformation({ state }: Context, input: unknown) {
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

function sendCommand(context: Context, input: unknown) {
  const { state } = context;
  const { DocumentName, InstanceIds, Parameters, Comment, TimeoutSeconds, ...rest } = sendInput.parse(input);
  const document = state.documents.get(DocumentName);
  if (!document)
    throw new AwsRefusal('InvalidDocument', `Document with name ${DocumentName} does not exist.`);
  if (new Set(InstanceIds).size < InstanceIds.length) throw new AwsRefusal('DuplicateInstanceId', '');
  refuseParameters(document.parameters, Parameters);
  refuseInstances(state, InstanceIds);

  const values = Object.fromEntries(Object.entries(Parameters).map(([name, [value = '']]) => [name, value]));
  const commandId = randomUUID();
  for (const instanceId of InstanceIds) {
    const invocation: LabInvocation = {
      commandId,
      instanceId,
      documentName: DocumentName,
      comment: Comment,
      requestedAt: Date.now(),
      status: 'Pending',
      statusDetails: 'Pending',
      responseCode: -1,
      stdout: '',
      stderr: '',
    };
    state.invocations.push(invocation);
    const command = run(context, invocation, values);
    context.running.add(command);
    void command.finally(() => context.running.delete(command));
  }
  return {
    Command: {
      CommandId: commandId,
      DocumentName,
      Comment,
      InstanceIds,
      TimeoutSeconds,
      Status: 'Pending',
      ...rest,
    },
  };
}

function refuseParameters(
  known: Readonly<Record<string, { allowedPattern: string; maxChars: number }>>,
  given: Readonly<Record<string, string[]>>,
): void {
  const refuse = (message: string) => new AwsRefusal('InvalidParameters', message);
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(known, name)) throw refuse(`Parameter "${name}" is not defined in the document.`);
  }
  for (const [name, { allowedPattern, maxChars }] of Object.entries(known)) {
    const [value, ...more] = given[name] ?? [];
    if (value === undefined || more.length > 0)
      throw refuse(`Parameter "${name}" must be supplied with one value.`);
    if (value.length > maxChars) throw refuse(`Parameter "${name}" exceeds ${maxChars} characters.`);
    if (!new RegExp(allowedPattern).test(value)) {
      throw refuse(`Parameter "${name}" does not match the allowed pattern ${allowedPattern}.`);
    }
  }
}

function refuseInstances({ agents, account, region }: AwsState, ids: readonly string[]): void {
  const forbidden = ids.find((id) => agents.get(id)?.isForbidden);
  if (forbidden) {
    throw denial('ssm:SendCommand', account, `arn:aws:ec2:${region}:${account}:instance/${forbidden}`);
  }
  const isInvalid = (id: string) => {
    const agent = agents.get(id);
    return !isRegistered(agent) || agent.pingStatus !== 'Online';
  };
  const invalid = ids.filter(isInvalid);
  if (invalid.length > 0) {
    const message = `Instances [[${invalid.join(', ')}]] not in a valid state for account ${account}`;
    throw new AwsRefusal('InvalidInstanceId', message);
  }
}

const stdoutLimit = 24_000;
const stderrLimit = 8_000;

async function run(
  { state, emit }: Context,
  invocation: LabInvocation,
  values: Readonly<Record<string, string>>,
): Promise<void> {
  const { instanceId, commandId, documentName } = invocation;
  const agent = state.agents.get(instanceId);
  const document = state.documents.get(documentName);
  if (!agent || !document) return;
  const env = {
    SSM_COMMAND_ID: commandId,
    AWS_SSM_INSTANCE_ID: instanceId,
    AWS_SSM_REGION_NAME: state.region,
  };
  invocation.status = 'InProgress';
  invocation.statusDetails = 'InProgress';
  const { status, stdout, stderr } = await runDocument(agent, document, values, env).catch(
    (error: unknown) => ({
      status: 1,
      stdout: '',
      stderr: `failed to run commands: ${messageOf(error)}`,
    }),
  );
  invocation.stdout = stdout.slice(0, stdoutLimit);
  invocation.stderr = stderr.slice(0, stderrLimit);
  invocation.responseCode = status;
  invocation.status = status === 0 ? 'Success' : 'Failed';
  invocation.statusDetails = invocation.status;
  emit(invocationChanged(state, invocation));
}

const visible = ({ invocations, invocationsAppearAfterMs }: AwsState) =>
  invocations.filter(({ requestedAt }) => requestedAt + invocationsAppearAfterMs <= Date.now());

const listInput = z.strictObject({
  CommandId: z.uuid(),
  InstanceId: managedId.optional(),
  Details: z.boolean().default(false),
  MaxResults: z.number().int().min(1).max(50).default(50),
  NextToken: nextToken,
});

function listCommandInvocations({ state }: Context, input: unknown) {
  const { CommandId, InstanceId, Details, MaxResults, NextToken } = listInput.parse(input);
  if (!state.invocations.some(({ commandId }) => commandId === CommandId)) {
    throw new AwsRefusal('InvalidCommandId', '');
  }
  const selected = visible(state).filter(
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

/** Both outputs in one, cut at 2,500 characters (`iohandler.go` of the agent: `TruncateOutput`). */
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

function getCommandInvocation({ state }: Context, input: unknown) {
  const { CommandId, InstanceId } = getInput.parse(input);
  const found = visible(state).find(
    ({ commandId, instanceId }) => commandId === CommandId && instanceId === InstanceId,
  );
  if (!found) throw new AwsRefusal('InvocationDoesNotExist', '');
  return {
    ...basics(found),
    PluginName: 'apply',
    ResponseCode: found.responseCode,
    StandardOutputContent: found.stdout,
    StandardErrorContent: found.stderr,
  };
}

const actions: Readonly<Record<string, (context: Context, input: unknown) => object>> = {
  DescribeInstanceInformation: describeInstanceInformation,
  SendCommand: sendCommand,
  ListCommandInvocations: listCommandInvocations,
  GetCommandInvocation: getCommandInvocation,
};

/** The JSON of the answer. @throws AwsRefusal */
export function answerSsm(context: Context, action: string, input: unknown): string {
  const act = Object.hasOwn(actions, action) ? actions[action] : undefined;
  if (!act) throw new AwsRefusal('UnknownOperationException', '');
  try {
    return JSON.stringify(act(context, input));
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    const faults = error.issues.map(({ path, message }) => `Value at '${path.join('.')}' failed: ${message}`);
    const count = `${faults.length} validation error${faults.length === 1 ? '' : 's'} detected`;
    throw new AwsRefusal('ValidationException', `${count}: ${faults.join('; ')}`);
  }
}
