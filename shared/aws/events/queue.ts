import { ChangeMessageVisibilityBatchCommand, SendMessageCommand } from '@aws-sdk/client-sqs';
import { RetryableError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { chunks } from '../../core/util/collections';
import { call } from '../client/call';
import type { Clients } from '../client/clients';

/** A message received from a queue. */
export interface QueueMessage {
  readonly messageId: string;
  readonly receiptHandle: string;
  readonly body: string;
}

export interface DelayedMessage {
  readonly message: QueueMessage;
  /** The number of seconds from now until the next delivery. */
  readonly seconds: number;
}

/** A queue, and the deadline for calls to it. */
export interface QueueTarget {
  readonly queueUrl: string;
  readonly deadline: Deadline;
}

/** The maximum number of entries in one batch (SQS API reference). */
const batchLimit = 10;

/**
 * Sets the time at which each message is delivered again. The default is the queue's visibility timeout.
 * @throws PeermasqError if a change fails; that message is delivered again after the visibility timeout
 */
export async function delayRetries(
  { sqs }: Clients,
  messages: readonly DelayedMessage[],
  { queueUrl, deadline }: QueueTarget,
): Promise<void> {
  const requests = chunks(messages, batchLimit).map(async (some) => {
    const Entries = some.map(({ message: { receiptHandle }, seconds }, index) => ({
      Id: String(index),
      ReceiptHandle: receiptHandle,
      VisibilityTimeout: seconds,
    }));
    const command = new ChangeMessageVisibilityBatchCommand({ QueueUrl: queueUrl, Entries });
    const { Failed: [failed] = [] } = await call('sqs:ChangeMessageVisibility', deadline, (options) =>
      sqs.send(command, options),
    );
    if (failed) throw notDelayed(failed.Code, failed.Message);
  });
  const [failure] = (await Promise.allSettled(requests)).filter(({ status }) => status === 'rejected');
  if (failure?.status === 'rejected') throw failure.reason;
}

const notDelayed = (code = '', message = '') =>
  new RetryableError(
    'retry-not-delayed',
    `SQS did not change the visibility timeout of a message: ${code} ${message}`,
    {
      advice: 'No event is lost: the message is delivered again after the visibility timeout of the queue.',
      retryAfterSeconds: 60,
    },
  );

export interface DeadLetter {
  readonly body: string;
  readonly reason: string;
  readonly functionName: string;
}

/** Sends a message to the dead-letter queue. The reason becomes a message attribute. */
export async function sendToDeadLetterQueue(
  { sqs }: Clients,
  { body, reason, functionName }: DeadLetter,
  { queueUrl, deadline }: QueueTarget,
): Promise<void> {
  const attribute = (value: string) => ({ DataType: 'String', StringValue: printable(value) });
  const command = new SendMessageCommand({
    QueueUrl: queueUrl,
    MessageBody: printable(body) || '(empty message)',
    MessageAttributes: { reason: attribute(reason.slice(0, 1_000)), function: attribute(functionName) },
  });
  await call('sqs:SendMessage', deadline, (options) => sqs.send(command, options));
}

/**
 * Replaces characters that SQS does not accept. SQS accepts only the characters that XML 1.0 allows, which excludes
 * most control characters and unpaired surrogates.
 */
const printable = (text: string): string =>
  text.replaceAll(/[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/gu, '\uFFFD');
