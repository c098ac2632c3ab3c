import {
  ChangeMessageVisibilityBatchCommand,
  type ChangeMessageVisibilityBatchRequestEntry,
  ReceiveMessageCommand,
  SendMessageCommand,
  type SendMessageCommandInput,
  SQSClient,
} from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { labRegion, startLocalAws, type LocalAws } from './cloud';
import type { LabQueue } from './sqs-queue';
import { errorCodeOf } from './errors';

let aws: LocalAws;
let sqs: SQSClient;
let queue: LabQueue;
let deadLetters: LabQueue;
let QueueUrl: string;

beforeAll(async () => {
  aws = await startLocalAws();
  Object.assign(process.env, aws.env);
  sqs = new SQSClient({ region: labRegion, useQueueUrlAsEndpoint: false });
  QueueUrl = aws.queueUrl('nodes');
});
afterAll(async () => {
  sqs.destroy();
  await aws.close();
});
beforeEach(() => {
  aws.state.secondMs = 1_000;
  deadLetters = aws.addQueue({ name: 'dead', visibilityTimeout: 30, delaySeconds: 0 });
  const settings = { name: 'nodes', visibilityTimeout: 30, delaySeconds: 0, maxReceiveCount: 2 };
  queue = aws.addQueue(settings, deadLetters);
});

const send = (changes: Partial<SendMessageCommandInput>) =>
  sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: 'body', ...changes }));
const change = (Entries: ChangeMessageVisibilityBatchRequestEntry[], url = QueueUrl) =>
  sqs.send(new ChangeMessageVisibilityBatchCommand({ QueueUrl: url, Entries }));
const entry = (Id: string, ReceiptHandle = 'x') => ({ Id, ReceiptHandle, VisibilityTimeout: 1 });
const attribute = (name: string, StringValue = 'x', DataType = 'String') => ({
  MessageAttributes: { [name]: { DataType, StringValue } },
});

/**
 * Receives a message, which is then in flight.
 * @returns the handle of the message
 */
function receiveOne(): string {
  const [message] = queue.receive(1);
  return message?.receiptHandle ?? '';
}

describe('the local SQS rejects', () => {
  const many = Object.fromEntries(
    Array.from({ length: 11 }, (_, i) => [`a${i}`, { DataType: 'String', StringValue: 'x' }]),
  );
  test.each<[string, () => Promise<unknown>, string]>([
    [
      'an unsupported action',
      () => sqs.send(new ReceiveMessageCommand({ QueueUrl })),
      'UnknownOperationException',
    ],
    ['an unknown queue', () => send({ QueueUrl: aws.queueUrl('other') }), 'QueueDoesNotExist'],
    [
      'a queue in another account',
      () => send({ QueueUrl: `${aws.url}/210987654321/nodes` }),
      'QueueDoesNotExist',
    ],
    ['an invalid URL', () => send({ QueueUrl: 'nodes' }), 'InvalidAddress'],
    ['an empty body', () => send({ MessageBody: '' }), 'InvalidParameterValue'],
    ['no body', () => send({ MessageBody: undefined }), 'MissingParameter'],
    ['a body one byte too long', () => send({ MessageBody: 'x'.repeat(1_048_577) }), 'InvalidParameterValue'],
    [
      'a body and attributes one byte too long',
      () => send({ MessageBody: 'x'.repeat(1_048_576 - 10), ...attribute('abc', 'de') }),
      'InvalidParameterValue',
    ],
    ['an unsupported parameter', () => send({ MessageGroupId: 'x' }), 'InvalidParameterValue'],
    ['a delay of over 15 minutes', () => send({ DelaySeconds: 901 }), 'InvalidParameterValue'],
    ['11 attributes', () => send({ MessageAttributes: many }), 'InvalidParameterValue'],
    ['a reserved attribute', () => send(attribute('Aws.reason')), 'InvalidParameterValue'],
    ['an attribute with a space', () => send(attribute('the reason')), 'InvalidParameterValue'],
    ['an attribute with two periods', () => send(attribute('a..b')), 'InvalidParameterValue'],
    ['an empty attribute', () => send(attribute('reason', '')), 'InvalidParameterValue'],
    ['an attribute without a type', () => send(attribute('reason', 'x', 'Text')), 'InvalidParameterValue'],
    ['an invalid number', () => send(attribute('count', 'x', 'Number')), 'InvalidParameterValue'],
    ['no entry', () => change([]), 'EmptyBatchRequest'],
    [
      '11 entries',
      () => change(Array.from({ length: 11 }, (_, i) => entry(String(i)))),
      'TooManyEntriesInBatchRequest',
    ],
    ['an ID that occurs twice', () => change([entry('a'), entry('a')]), 'BatchEntryIdsNotDistinct'],
    ['an id with a slash', () => change([entry('a/b')]), 'InvalidBatchEntryId'],
    ['a batch for an unknown queue', () => change([entry('a')], aws.queueUrl('other')), 'QueueDoesNotExist'],
  ])('%s', async (_, sending, code) => {
    expect(await errorCodeOf(sending())).toBe(code);
  });

  test.each<[string, () => string, number, string]>([
    ['an invalid handle', () => 'x', 1, 'ReceiptHandleIsInvalid'],
    ['43,201 seconds', receiveOne, 43_201, 'InvalidParameterValue'],
    ['-1 seconds', receiveOne, -1, 'InvalidParameterValue'],
    [
      'the handle of a deleted message',
      () => {
        const handle = receiveOne();
        queue.delete(handle);
        return handle;
      },
      1,
      'InvalidParameterValue',
    ],
    [
      'the handle of a message that is visible again',
      () => {
        const handle = receiveOne();
        queue.changeVisibility(handle, 0);
        return handle;
      },
      1,
      'InvalidParameterValue',
    ],
    [
      'an earlier handle',
      () => {
        const handle = receiveOne();
        queue.changeVisibility(handle, 0);
        receiveOne();
        return handle;
      },
      1,
      'InvalidParameterValue',
    ],
  ])('only the batch entry with %s', async (_, handle, VisibilityTimeout, code) => {
    queue.send('bad');
    queue.send('good');
    const ReceiptHandle = handle();
    const good = receiveOne();
    const { Successful, Failed } = await change([
      { Id: 'bad', ReceiptHandle, VisibilityTimeout },
      { Id: 'good', ReceiptHandle: good, VisibilityTimeout: 43_200 },
    ]);
    expect(Successful).toEqual([{ Id: 'good' }]);
    expect(Failed).toMatchObject([{ Id: 'bad', SenderFault: true, Code: code }]);
  });
});

test('a received message contains its attributes', async () => {
  const { MessageId } = await send({ MessageBody: 'say \u0001 it', ...attribute('reason', 'poison') });
  expect(queue.receive(10)).toMatchObject([
    {
      messageId: MessageId,
      body: 'say \uFFFD it',
      attributes: { reason: { DataType: 'String', StringValue: 'poison' } },
      receiveCount: 1,
    },
  ]);
  expect(queue.receive(10)).toEqual([]);
});

test('a message may be 1 MiB long', async () => {
  await send({ MessageBody: 'x'.repeat(1_048_576) });
  expect(queue.size).toBe(1);
});

test('a message is received again once it is visible, and moves to the dead-letter queue after two receives', async () => {
  aws.state.secondMs = 1;
  const never = new AbortController().signal;
  const { messageId } = queue.send('body');
  const first = queue.receive(1);
  await queue.waitForMessage(Infinity, never);
  const second = queue.receive(1);
  expect(second).toMatchObject([{ messageId, receiveCount: 2, firstReceivedAt: first[0]?.firstReceivedAt }]);
  expect(Date.now() - (first[0]?.receivedAt ?? 0)).toBeGreaterThanOrEqual(30);
  await queue.waitForMessage(Infinity, never);
  expect(queue.receive(1)).toEqual([]);
  await queue.waitUntilAtMost(0, never);
  expect(deadLetters.messages).toMatchObject([{ messageId, body: 'body', receiveCount: 2 }]);
});
