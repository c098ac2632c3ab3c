import { setImmediate } from 'node:timers/promises';
import * as z from 'zod';
import type { LabFunction } from './function';
import type { LabMessage, LabQueue } from './sqs-queue';
import { toSqsRecord } from './sqs-records';

export interface EventSourceSettings {
  readonly batchSize: number;
  /** The batch window in milliseconds, starting with the first message of the batch. */
  readonly windowMs: number;
  readonly maximumConcurrency: number;
}

/** The maximum number of bytes in one invocation (Lambda quotas). */
const payloadLimit = 6_291_456;

/** The maximum number of messages that one ReceiveMessage call returns. */
const receiveLimit = 10;

/**
 * Runs Lambda's event source mapping, with partial batch responses.
 * @param onFailure called with the error that a function threw; the batch then stays in the queue
 * @returns after the signal, once every invocation has finished
 */
export async function runEventSource(
  queue: LabQueue,
  target: LabFunction,
  settings: EventSourceSettings,
  onFailure: (error: unknown) => void,
  signal: AbortSignal,
): Promise<void> {
  const poll = async () => {
    let carried: LabMessage[] = [];
    for (;;) {
      const gathered = await gather(queue, settings, carried, signal);
      if (signal.aborted) return;
      const batch = takeFitting(gathered, queue.arn);
      carried = gathered.slice(batch.length);
      await invokeWithBatch(queue, target, batch, onFailure);
    }
  };
  await Promise.all(Array.from({ length: settings.maximumConcurrency }, poll));
}

/** Waits until the batch is full or the batch window has ended. */
async function gather(
  queue: LabQueue,
  { batchSize, windowMs }: EventSourceSettings,
  carried: readonly LabMessage[],
  signal: AbortSignal,
): Promise<LabMessage[]> {
  const batch = [...carried];
  let bytes = sizeOf(batch, queue.arn);
  let endsAt = Number.POSITIVE_INFINITY;
  while (!signal.aborted) {
    const received = queue.receive(Math.min(receiveLimit, batchSize - batch.length));
    batch.push(...received);
    bytes += sizeOf(received, queue.arn);
    if (batch.length > 0) endsAt = Math.min(endsAt, Date.now() + windowMs);
    if (batch.length >= batchSize || Date.now() >= endsAt || bytes > payloadLimit) break;
    if (received.length === 0) await queue.waitForMessage(endsAt, signal);
    // Lets the other pollers run.
    else await setImmediate();
  }
  return batch;
}

const sizeOf = (messages: readonly LabMessage[], arn: string) =>
  messages.reduce(
    (sum, message) => sum + Buffer.byteLength(JSON.stringify(toSqsRecord(message, arn))) + 1,
    0,
  );

/** Returns the first messages of the batch, as many as fit in one invocation. */
function takeFitting(batch: readonly LabMessage[], arn: string): LabMessage[] {
  let size = '{"Records":[]}'.length;
  const end = batch.findIndex((message) => (size += sizeOf([message], arn)) > payloadLimit);
  return batch.slice(0, end === -1 ? undefined : end);
}

/**
 * Invokes the function and deletes the messages that it handled. The remaining messages become visible again after
 * their visibility timeout.
 */
async function invokeWithBatch(
  queue: LabQueue,
  target: LabFunction,
  batch: readonly LabMessage[],
  onFailure: (error: unknown) => void,
): Promise<void> {
  try {
    const { response } = await target.invoke({ Records: batch.map((one) => toSqsRecord(one, queue.arn)) });
    const failedIds = failuresIn(response, batch);
    for (const { messageId, receiptHandle = '' } of batch) {
      if (!failedIds.has(messageId)) queue.delete(receiptHandle);
    }
  } catch (error) {
    onFailure(error);
  }
}

const responseSchema = z
  .object({ batchItemFailures: z.array(z.object({ itemIdentifier: z.string() })).nullish() })
  .nullable();

/**
 * Returns the messages that the function reported as failed.
 * @throws Error for a response that Lambda treats as a failure of the whole batch
 */
function failuresIn(response: unknown, batch: readonly LabMessage[]): Set<string> {
  const failures = responseSchema.parse(response)?.batchItemFailures ?? [];
  const ids = new Set(failures.map(({ itemIdentifier }) => itemIdentifier));
  const known = new Set(batch.map(({ messageId }) => messageId));
  const unknown = [...ids].find((id) => !known.has(id));
  if (unknown !== undefined) throw new Error(`The batch does not contain message '${unknown}'`);
  return ids;
}
