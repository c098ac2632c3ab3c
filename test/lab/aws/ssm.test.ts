import {
  DescribeInstanceInformationCommand,
  ListCommandsCommand,
  type ListCommandsCommandInput,
  SendCommandCommand,
  type SendCommandCommandInput,
} from '@aws-sdk/client-ssm';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { makeDocument } from '../../../infra/aws/document';
import { makeClients, type Clients } from '../../../shared/aws/client/clients';
import type { Machine } from '../machine';
import type { NewNode } from './account';
import { labRegion, startLocalAws, type LocalAws } from './cloud';
import { errorCodeOf } from './errors';

const subnetId = 'subnet-0123456789abcdef0';
let aws: LocalAws;
let clients: Clients;

beforeEach(async () => {
  aws = await startLocalAws();
  Object.assign(process.env, aws.env);
  clients = makeClients(labRegion);
  aws.addNetwork({ vpcId: 'vpc-0123456789abcdef0', cidrs: ['172.20.0.0/16'], subnetIds: [subnetId] });
  aws.putDocument('document', makeDocument('true\n'));
});
afterEach(async () => {
  clients.ssm.destroy();
  await aws.close();
});

const ending = (status: number): Machine => ({
  run: () => Promise.resolve({ status, stdout: '', stderr: '' }),
});
const addNodes = (count: number, node: Partial<NewNode> = {}) =>
  Array.from({ length: count }, () => aws.addNode({ subnetId, machine: ending(0), ...node }));

const send = (InstanceIds: string[], changes: Partial<SendCommandCommandInput> = {}) =>
  clients.ssm.send(
    new SendCommandCommand({
      DocumentName: 'document',
      InstanceIds,
      Parameters: { ruleset: ['H4sIAAAA'] },
      ...changes,
    }),
  );
const list = async (input: ListCommandsCommandInput = {}) =>
  (await clients.ssm.send(new ListCommandsCommand(input))).Commands ?? [];
const details = () => aws.state.invocations.map(({ statusDetails }) => statusDetails);

describe('the option MaxErrors of a command', () => {
  test.each<[string, Partial<SendCommandCommandInput>, string[]]>([
    [
      'defaults to 0, so that no more instances get the command after the first failure',
      {},
      ['Failed', 'Terminated', 'Terminated', 'Terminated'],
    ],
    ['one', { MaxErrors: '1' }, ['Failed', 'Failed', 'Terminated', 'Terminated']],
    ['a percentage', { MaxErrors: '50%' }, ['Failed', 'Failed', 'Failed', 'Terminated']],
    ['all', { MaxErrors: '100%' }, ['Failed', 'Failed', 'Failed', 'Failed']],
    [
      'does not stop the command on instances that are already running it',
      { MaxConcurrency: '3' },
      ['Failed', 'Failed', 'Failed', 'Terminated'],
    ],
  ])('%s', async (_, changes, expected) => {
    await send(addNodes(4, { machine: ending(1) }), { MaxConcurrency: '1', ...changes });
    await aws.waitForCommands();
    expect(details()).toEqual(expected);
  });
});

test.each([
  ['2', 2],
  ['50%', 3],
  ['1%', 1],
])(
  'with MaxConcurrency %s, a command runs on up to %i of 6 instances at a time',
  async (MaxConcurrency, expected) => {
    let [now, most] = [0, 0];
    const run = async () => {
      most = Math.max(most, (now += 1));
      await new Promise((resolve) => setTimeout(resolve, 5));
      now -= 1;
      return { status: 0, stdout: '', stderr: '' };
    };
    await send(addNodes(6, { machine: { run } }), { MaxConcurrency });
    await aws.waitForCommands();
    expect(most).toBe(expected);
  },
);

describe('an offline SSM agent', () => {
  test.each<[string, (id: string) => void]>([
    [
      'offline',
      (id) => {
        aws.setReady(id, false);
      },
    ],
    [
      'stopped',
      (id) => {
        Object.assign(aws.state.instances.get(id) ?? {}, { state: 'stopped' });
      },
    ],
  ])('(%s) does not get the command in time, which is not counted as an error', async (_, leave) => {
    aws.state.secondMs = 2;
    const [busy = '', away = '', last = ''] = addNodes(3, { commandDelayMs: 10 });
    await send([busy, away, last], { MaxConcurrency: '1', TimeoutSeconds: 30 });
    leave(away);
    await aws.waitForCommands();
    expect(details()).toEqual(['Success', 'DeliveryTimedOut', 'Success']);
    expect(await list()).toMatchObject([
      { TargetCount: 3, CompletedCount: 3, ErrorCount: 0, DeliveryTimedOutCount: 1, Status: 'TimedOut' },
    ]);
  });

  test('gets the command when it is online again', async () => {
    const [first = '', second = ''] = addNodes(2, { commandDelayMs: 20 });
    await send([first, second], { MaxConcurrency: '1' });
    aws.setReady(second, false);
    setTimeout(() => {
      aws.setReady(second, true);
    }, 60);
    await aws.waitForCommands();
    expect(details()).toEqual(['Success', 'Success']);
  });
});

test('ListCommands applies filters and returns the newest command first', async () => {
  const [id = ''] = addNodes(1, { commandDelayMs: 500 });
  aws.putDocument('other-document', makeDocument('true\n'));
  await send([id], { Comment: 'first' });
  await send([id], { DocumentName: 'other-document', Comment: 'second' });
  expect(await list()).toMatchObject([
    { Comment: 'second', Status: 'InProgress', CompletedCount: 0, InstanceIds: [id] },
    { Comment: 'first', RequestedDateTime: expect.any(Date) },
  ]);
  await aws.waitForCommands();
  const soon = new Date(Date.now() + 1_000).toISOString();
  const selected = async (key: 'DocumentName' | 'InvokedAfter' | 'InvokedBefore' | 'Status', value: string) =>
    (await list({ Filters: [{ key, value }] })).map(({ Comment }) => Comment);
  expect(await selected('DocumentName', 'document')).toEqual(['first']);
  expect(await selected('InvokedAfter', soon)).toEqual([]);
  expect(await selected('InvokedBefore', soon)).toEqual(['second', 'first']);
  expect(await selected('Status', 'Success')).toEqual(['second', 'first']);
});

test.each<[string, ListCommandsCommandInput, string]>([
  ['51 per page', { MaxResults: 51 }, 'ValidationException'],
  ['an unknown filter', { Filters: [{ key: 'ExecutionStage', value: 'Executing' }] }, 'ValidationException'],
  ['an invalid time', { Filters: [{ key: 'InvokedAfter', value: 'yesterday' }] }, 'InvalidFilterValue'],
])('ListCommands rejects %s', async (_, input, code) => {
  await send(addNodes(1));
  expect(await errorCodeOf(list(input))).toBe(code);
});

test('DescribeInstanceInformation accepts both filters, and 100 IDs', async () => {
  const [online = '', offline = ''] = addNodes(2);
  const later = aws.addNode({ subnetId, registersAfterMs: 60_000 });
  aws.setReady(offline, false);
  const describeOnline = (ids: string[]) =>
    clients.ssm.send(
      new DescribeInstanceInformationCommand({
        Filters: [
          { Key: 'InstanceIds', Values: ids },
          { Key: 'PingStatus', Values: ['Online'] },
        ],
        MaxResults: 50,
      }),
    );
  const { InstanceInformationList = [] } = await describeOnline([online, offline, later]);
  expect(InstanceInformationList.map(({ InstanceId }) => InstanceId)).toEqual([online]);
  expect(await errorCodeOf(describeOnline(Array.from({ length: 101 }, () => online)))).toBe(
    'ValidationException',
  );
});
