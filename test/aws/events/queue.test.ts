import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { makeClients, type Clients } from '../../../shared/aws/client/clients';
import { sendToDeadLetterQueue, delayRetries, type QueueMessage } from '../../../shared/aws/events/queue';
import { PermanentError, RetryableError } from '../../../shared/core/model/errors';
import { labRegion, startLocalAws, type LocalAws } from '../../lab/aws/cloud';
import type { LabQueue } from '../../lab/aws/sqs-queue';
import { soon } from '../cloud';

let aws: LocalAws;
let queue: LabQueue;
let deadLetters: LabQueue;
let clients: Clients;

beforeEach(async () => {
  aws = await startLocalAws();
  Object.assign(process.env, aws.env);
  clients = makeClients(labRegion);
  deadLetters = aws.addQueue({ name: 'dead-letters', visibilityTimeout: 30, delaySeconds: 0 });
  queue = aws.addQueue({ name: 'nodes', visibilityTimeout: 300, delaySeconds: 0 }, deadLetters);
});
afterEach(async () => {
  clients.sqs.destroy();
  await aws.close();
});

/** Sends messages and receives them, so that they are in flight. */
function deliver(count: number): QueueMessage[] {
  for (let i = 0; i < count; i += 1) queue.send(`body ${i}`);
  const received = Array.from({ length: Math.ceil(count / 10) }, () => queue.receive(10)).flat();
  return received.map(({ messageId, receiptHandle = '', body }) => ({ messageId, receiptHandle, body }));
}

/** Returns the number of seconds until each message becomes visible again. */
const waits = () =>
  queue.messages.map(({ visibleAt }) => Math.ceil((visibleAt - Date.now()) / 1_000)).sort((a, b) => a - b);

describe('delayRetries', () => {
  const delayAll = (messages: readonly QueueMessage[]) =>
    delayRetries(
      clients,
      messages.map((message, index) => ({ message, seconds: index + 5 })),
      { queueUrl: aws.queueUrl('nodes'), deadline: soon() },
    );

  test('sets when each message is delivered again, with ten messages per call', async () => {
    await delayAll(deliver(25));
    expect(waits()).toEqual(Array.from({ length: 25 }, (_, index) => index + 5));
    expect(aws.count('ChangeMessageVisibilityBatch')).toBe(3);
  });

  test('throws when a message is no longer in flight, and still delays the other messages', async () => {
    const [first, second] = deliver(2);
    if (!first || !second) throw new Error('no messages');
    const failure = delayAll([{ ...first, receiptHandle: 'expired' }, second]);
    await expect(failure).rejects.toThrow(RetryableError);
    expect(waits()).toEqual([6, 300]);
  });

  test('names the policy statement when access is denied', async () => {
    aws.deny('sqs:ChangeMessageVisibilityBatch');
    const failure = await delayAll(deliver(1)).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(PermanentError);
    expect((failure as PermanentError).advice).toContain('the statement ConsumeQueue');
  });
});

describe('sendToDeadLetterQueue', () => {
  const deadLetterOne = (body: string, reason = 'malformed') =>
    sendToDeadLetterQueue(
      clients,
      { body, reason, functionName: 'node-joined' },
      { queueUrl: aws.queueUrl('dead-letters'), deadline: soon() },
    );
  const deadLettered = () =>
    deadLetters.messages.map(({ body, attributes }) => [
      body,
      attributes['reason']?.StringValue,
      attributes['function']?.StringValue,
    ]);

  test('sends the message together with the reason and the name of the function', async () => {
    await deadLetterOne('{"source": "aws.ec2"}');
    expect(deadLettered()).toEqual([['{"source": "aws.ec2"}', 'malformed', 'node-joined']]);
  });

  test.each([
    ['', '(empty message)'],
    ['a\u0000b\u001b', 'a\uFFFDb\uFFFD'],
    ['half \ud800 a pair', 'half \uFFFD a pair'],
    ['\u{1F600} ü', '\u{1F600} ü'],
  ])('replaces characters that SQS rejects: %j', async (body, expected) => {
    await deadLetterOne(body, `why ${body}`);
    expect(deadLettered()).toEqual([[expected, expect.stringMatching(/^why/), 'node-joined']]);
  });

  test('truncates a long reason', async () => {
    await deadLetterOne('body', 'x'.repeat(100_000));
    expect(deadLettered()[0]?.[1]).toHaveLength(1_000);
  });
});
