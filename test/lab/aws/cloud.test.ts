import {
  CreateTagsCommand,
  DescribeInstancesCommand,
  DescribeRouteTablesCommand,
  DescribeVpcsCommand,
  GetManagedPrefixListEntriesCommand,
  TerminateInstancesCommand,
} from '@aws-sdk/client-ec2';
import {
  DescribeInstanceInformationCommand,
  DescribeParametersCommand,
  GetCommandInvocationCommand,
  ListCommandInvocationsCommand,
  SendCommandCommand,
  type SendCommandCommandInput,
} from '@aws-sdk/client-ssm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { makeDocument } from '../../../infra/aws/document';
import { makeClients, type Clients } from '../../../shared/aws/client/clients';
import { labRegion, startLocalAws, type LocalAws } from './cloud';
import { errorCodeOf } from './errors';

const subnetId = 'subnet-0123456789abcdef0';
const missing = 'i-0aaaaaaaaaaaaaaaa';
const ids = (count: number) =>
  Array.from({ length: count }, (_, i) => `i-${i.toString(16).padStart(17, '0')}`);

let aws: LocalAws;
let clients: Clients;
let id: string;

beforeAll(async () => {
  aws = await startLocalAws();
  Object.assign(process.env, aws.env);
  clients = makeClients(labRegion);
  aws.addNetwork({ vpcId: 'vpc-0123456789abcdef0', cidrs: ['172.20.0.0/16'], subnetIds: [subnetId] });
  aws.putDocument('document', makeDocument('true\n'));
});
afterAll(async () => {
  clients.ec2.destroy();
  clients.ssm.destroy();
  await aws.close();
});
beforeEach(() => {
  const run = () => Promise.resolve({ status: 0, stdout: '', stderr: '' });
  id = aws.addNode({ subnetId, machine: { run } });
});

describe('the local EC2 rejects', () => {
  const tags = (Key: string, Value = '') =>
    new CreateTagsCommand({ Resources: [id], Tags: [{ Key, Value }] });

  test.each<[string, () => Promise<unknown>, string]>([
    [
      'an unsupported action',
      () => clients.ec2.send(new TerminateInstancesCommand({ InstanceIds: [id] })),
      'InvalidAction',
    ],
    [
      'an unsupported parameter',
      () => clients.ec2.send(new DescribeVpcsCommand({ DryRun: true })),
      'UnknownParameter',
    ],
    [
      'a missing parameter',
      () => clients.ec2.send(new GetManagedPrefixListEntriesCommand({ PrefixListId: undefined })),
      'MissingParameter',
    ],
    [
      'no resources',
      () => clients.ec2.send(new CreateTagsCommand({ Resources: [], Tags: [{ Key: 'a' }] })),
      'MissingParameter',
    ],
    [
      'a malformed id',
      () => clients.ec2.send(new DescribeInstancesCommand({ InstanceIds: ['i-1'] })),
      'InvalidInstanceID.Malformed',
    ],
    [
      'an unknown id',
      () => clients.ec2.send(new DescribeInstancesCommand({ InstanceIds: [id, missing] })),
      'InvalidInstanceID.NotFound',
    ],
    [
      '1,001 ids',
      () => clients.ec2.send(new DescribeInstancesCommand({ InstanceIds: ids(1_001) })),
      'InvalidParameterValue',
    ],
    [
      'IDs together with MaxResults',
      () => clients.ec2.send(new DescribeInstancesCommand({ InstanceIds: [id], MaxResults: 5 })),
      'InvalidParameterCombination',
    ],
    [
      'pages that are too small',
      () => clients.ec2.send(new DescribeRouteTablesCommand({ MaxResults: 4 })),
      'InvalidParameterValue',
    ],
    [
      'pages that are too large',
      () => clients.ec2.send(new DescribeRouteTablesCommand({ MaxResults: 101 })),
      'InvalidParameterValue',
    ],
    [
      'an unknown page token',
      () => clients.ec2.send(new DescribeVpcsCommand({ NextToken: 'x' })),
      'InvalidNextToken',
    ],
    [
      'an unknown filter',
      () => clients.ec2.send(new DescribeVpcsCommand({ Filters: [{ Name: 'colour', Values: ['red'] }] })),
      'InvalidParameterValue',
    ],
    [
      '201 filter values',
      () => clients.ec2.send(new DescribeVpcsCommand({ Filters: [{ Name: 'vpc-id', Values: ids(201) }] })),
      'FilterLimitExceeded',
    ],
    ['a reserved tag', () => clients.ec2.send(tags('aws:own')), 'InvalidParameterValue'],
    ['a long key', () => clients.ec2.send(tags('k'.repeat(129))), 'InvalidParameterValue'],
    ['a long value', () => clients.ec2.send(tags('k', 'v'.repeat(257))), 'InvalidParameterValue'],
    [
      '1,001 resources',
      () => clients.ec2.send(new CreateTagsCommand({ Resources: ids(1_001), Tags: [{ Key: 'a' }] })),
      'InvalidParameterValue',
    ],
  ])('%s', async (_, send, code) => {
    expect(await errorCodeOf(send())).toBe(code);
  });

  test('a 51st tag', async () => {
    for (let i = 0; i < 50; i += 1) aws.state.instances.get(id)?.tags.set(`k${i}`, '');
    expect(await errorCodeOf(clients.ec2.send(tags('k0')))).toBe('nothing');
    expect(await errorCodeOf(clients.ec2.send(tags('one-more')))).toBe('TagLimitExceeded');
  });
});

test.each([
  ['pending', 0],
  ['running', 16],
  ['shutting-down', 32],
  ['terminated', 48],
  ['stopping', 64],
  ['stopped', 80],
] as const)('the local EC2 returns the instance state %s with the code %i', async (state, code) => {
  const ids = [aws.addNode({ subnetId, state })];
  const { Reservations } = await clients.ec2.send(new DescribeInstancesCommand({ InstanceIds: ids }));
  expect(Reservations?.[0]?.Instances?.[0]?.State).toEqual({ Code: code, Name: state });
});

describe('the local SSM rejects', () => {
  const send = (changes: Partial<SendCommandCommandInput>) =>
    clients.ssm.send(
      new SendCommandCommand({
        DocumentName: 'document',
        InstanceIds: [id],
        Parameters: { ruleset: ['H4sIAAAA'] },
        ...changes,
      }),
    );

  test.each<[string, () => Promise<unknown>, string]>([
    [
      'an unsupported action',
      () => clients.ssm.send(new DescribeParametersCommand({})),
      'UnknownOperationException',
    ],
    ['an unknown document', () => send({ DocumentName: 'AWS-RunShellScript' }), 'InvalidDocument'],
    ['51 instances', () => send({ InstanceIds: ids(51) }), 'ValidationException'],
    ['no instance', () => send({ InstanceIds: [] }), 'ValidationException'],
    ['an instance that is listed twice', () => send({ InstanceIds: [id, id] }), 'DuplicateInstanceId'],
    [
      'an instance whose agent has never registered',
      () => send({ InstanceIds: [id, missing] }),
      'InvalidInstanceId',
    ],
    ['no rule set', () => send({ Parameters: {} }), 'InvalidParameters'],
    [
      'an unknown parameter',
      () => send({ Parameters: { ruleset: ['H4sIAAAA'], commands: ['id'] } }),
      'InvalidParameters',
    ],
    [
      "a rule set that does not match the document's pattern",
      () => send({ Parameters: { ruleset: ["H4sI'; id; '"] } }),
      'InvalidParameters',
    ],
    ['29 seconds', () => send({ TimeoutSeconds: 29 }), 'ValidationException'],
    ['a long comment', () => send({ Comment: 'x'.repeat(101) }), 'ValidationException'],
    ['more concurrency than 100 %', () => send({ MaxConcurrency: '101%' }), 'ValidationException'],
    [
      'pages that are too small',
      () => clients.ssm.send(new DescribeInstanceInformationCommand({ MaxResults: 4 })),
      'ValidationException',
    ],
    [
      'an unsupported parameter',
      () => clients.ssm.send(new DescribeInstanceInformationCommand({ InstanceInformationFilterList: [] })),
      'ValidationException',
    ],
    [
      'pages that are too large',
      () =>
        clients.ssm.send(
          new ListCommandInvocationsCommand({ CommandId: crypto.randomUUID(), MaxResults: 51 }),
        ),
      'ValidationException',
    ],
    [
      'an unknown command',
      () => clients.ssm.send(new ListCommandInvocationsCommand({ CommandId: crypto.randomUUID() })),
      'InvalidCommandId',
    ],
    [
      'an unknown invocation',
      () =>
        clients.ssm.send(new GetCommandInvocationCommand({ CommandId: crypto.randomUUID(), InstanceId: id })),
      'InvocationDoesNotExist',
    ],
  ])('%s', async (_, sending, code) => {
    expect(await errorCodeOf(sending())).toBe(code);
  });
});

describe.each([
  ['EC2', 'application/x-www-form-urlencoded', 401, '<Code>AuthFailure</Code>'],
  ['SSM', 'application/x-amz-json-1.1', 400, '"__type":"MissingAuthenticationTokenException"'],
  ['SQS', 'application/x-amz-json-1.0', 403, '"__type":"com.amazonaws.sqs#MissingAuthenticationToken"'],
])('the local %s rejects a call', (_, type, status, code) => {
  test('without a signature', async () => {
    const headers = { 'content-type': type };
    const response = await fetch(aws.env['AWS_ENDPOINT_URL_EC2'] ?? '', {
      method: 'POST',
      headers,
      body: '{}',
    });
    expect(response.status).toBe(status);
    expect(await response.text()).toContain(code);
  });
});

test('the local SSM sends events about a command to EventBridge', async () => {
  const events: unknown[] = [];
  aws.onEvent = (event) => events.push(event);
  const Parameters = { ruleset: ['H4sIAAAA'] };
  const { Command } = await clients.ssm.send(
    new SendCommandCommand({ DocumentName: 'document', InstanceIds: [id], Parameters }),
  );
  await aws.waitForCommands();
  const expectedEvent = (status: string) => ({
    source: 'aws.ssm',
    'detail-type': 'EC2 Command Invocation Status-change Notification',
    detail: { 'command-id': Command?.CommandId, 'instance-id': id, status },
  });
  expect(events).toMatchObject([expectedEvent('InProgress'), expectedEvent('Success')]);
});
