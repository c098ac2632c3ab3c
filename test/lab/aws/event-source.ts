import { setImmediate } from 'node:timers/promises';
import * as z from 'zod';
import type { LabFunction } from './function';
import type { LabMessage, LabQueue } from './sqs-queue';
import { toSqsRecord } from './sqs-records';

export interface EventSourceSettings {
  readonly batchSize: number;
  /** The batch window in milliseconds. It begins with the first message in the batch. */
  readonly windowMs: number;
  readonly maximumConcurrency: number;
}

/** The maximum payload of an invocation, in bytes (Lambda quotas). */
const payloadLimit = 6_291_456;

/** The maximum number of messages that one ReceiveMessage call returns. */
const receiveLimit = 10;

/**
 * Runs Lambda's event source mapping, with partial batch responses.
 * @param onFailure called with the error if the function throws; the batch then stays in the queue
 * @returns once `signal` has aborted and all invocations have finished
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

/** Collects messages until the batch is full or its window ends. */
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
    // Gives the pollers of other queues a chance to run.
    else await setImmediate();
  }
  return batch;
}

const sizeOf = (messages: readonly LabMessage[], arn: string) =>
  messages.reduce(
    (sum, message) => sum + Buffer.byteLength(JSON.stringify(toSqsRecord(message, arn))) + 1,
    0,
  );

/** Returns the longest prefix of the batch that fits into one invocation. */
function takeFitting(batch: readonly LabMessage[], arn: string): LabMessage[] {
  let size = '{"Records":[]}'.length;
  const end = batch.findIndex((message) => (size += sizeOf([message], arn)) > payloadLimit);
  return batch.slice(0, end === -1 ? undefined : end);
}

/**
 * Invokes the function and deletes the messages that the function handled. All other messages become visible again
 * after their visibility timeout.
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
