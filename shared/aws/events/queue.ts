import { ChangeMessageVisibilityBatchCommand, SendMessageCommand } from '@aws-sdk/client-sqs';
import { RetryableError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { call, chunks } from '../client/call';
import type { Clients } from '../client/clients';

/** A message that a queue delivered. */
export interface QueueMessage {
  readonly messageId: string;
  readonly receiptHandle: string;
  readonly body: string;
}

/** Entries in one batch (SQS API reference). */
const batchLimit = 10;

/**
 * Lets messages come again after some seconds, counted from now, instead of after the queue's visibility timeout.
 * @throws PeermasqError when one could not be changed; it comes again after the queue's own time
 */
export async function delayRetries(
  { sqs }: Clients,
  QueueUrl: string,
  messages: readonly { readonly message: QueueMessage; readonly seconds: number }[],
  deadline: Deadline,
): Promise<void> {
  const changing = chunks(messages, batchLimit).map(async (some) => {
    const Entries = some.map(({ message: { receiptHandle }, seconds }, index) => ({
      Id: String(index),
      ReceiptHandle: receiptHandle,
      VisibilityTimeout: seconds,
    }));
    const { Failed: [failed] = [] } = await call('sqs:ChangeMessageVisibility', deadline, (options) =>
      sqs.send(new ChangeMessageVisibilityBatchCommand({ QueueUrl, Entries }), options),
    );
    if (failed) throw notDelayed(failed.Code, failed.Message);
  });
  const [failure] = (await Promise.allSettled(changing)).filter(({ status }) => status === 'rejected');
  if (failure?.status === 'rejected') throw failure.reason;
}

const notDelayed = (code = '', message = '') =>
  new RetryableError(
    'retry-not-delayed',
    `SQS did not change when a message comes again: ${code} ${message}`,
    'Nothing is lost: it comes again after the visibility timeout of the queue.',
    60,
  );

/** Puts a message into the dead-letter queue with why. @throws PeermasqError when it is not there */
export async function sendToDeadLetterQueue(
  { sqs }: Clients,
  deadLetterQueueUrl: string,
  { body }: QueueMessage,
  why: { readonly reason: string; readonly function: string },
  deadline: Deadline,
): Promise<void> {
  const text = (value: string) => ({ DataType: 'String', StringValue: printable(value) });
  await call('sqs:SendMessage', deadline, (options) =>
    sqs.send(
      new SendMessageCommand({
        QueueUrl: deadLetterQueueUrl,
        MessageBody: printable(body) || '(an empty message)',
        MessageAttributes: { reason: text(why.reason.slice(0, 1_000)), function: text(why.function) },
      }),
      options,
    ),
  );
}

/** SQS takes only what XML 1.0 takes: no other control characters, no half of a surrogate pair. */
const printable = (text: string): string =>
  text.replaceAll(/[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/gu, '\uFFFD');
