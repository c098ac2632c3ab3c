import type { Context, SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import type { Clients } from '../../../shared/aws/client/clients';
import type { EventParser, Ignored, Malformed } from '../../../shared/aws/events/event';
import { parseEvent } from '../../../shared/aws/events/parse-event';
import { delayRetries, sendToDeadLetterQueue, type QueueMessage } from '../../../shared/aws/events/queue';
import type { Deadline } from '../../../shared/core/cloud';
import { PeermasqError, PermanentError } from '../../../shared/core/model/errors';
import { errorFields } from '../../../shared/core/reconcile/outcome';
import { accountFor, accountsOf, log, settings } from './accounts';
import { deadlineOf, functionLocation, type FunctionLocation } from './invocation';
import { writeApiMetrics } from './metrics';
import { retryDelaySeconds } from './retry-delay';

/** A parsed event and the queue message it came in. */
export interface QueuedEvent<Event> {
  readonly message: QueueMessage;
  readonly event: Event;
  /** How many times the message has been delivered, including this time. */
  readonly attempt: number;
  /**
   * Whether the objective has passed since the message was sent. If so, an event that cannot be handled now is not
   * retried.
   */
  readonly isOverdue: boolean;
}

/** What to do with a message after its event was handled. */
export type Disposition = { readonly kind: 'done' } | Retry | DeadLettered;

export interface Retry {
  readonly kind: 'retry';
  readonly seconds: number;
  readonly reason: string;
}

interface DeadLettered {
  readonly kind: 'dead-letter';
  readonly reason: string;
}

export interface BatchContext {
  readonly location: FunctionLocation;
  readonly deadline: Deadline;
}

export interface BatchHandler<Event> {
  readonly functionName: string;
  /** The parsers of the events that the function handles. */
  readonly parsers: readonly EventParser<Event>[];
  /** Returns the disposition of each event, in the order of the events. */
  readonly handleEvents: (
    queuedEvents: readonly QueuedEvent<Event>[],
    batch: BatchContext,
  ) => Promise<readonly Disposition[]>;
}

/** The parse result of a message that the function does not handle. */
type Unhandled = Ignored | Malformed;

/** Time reserved for sending the response to Lambda. */
const responseReserveMs = 1_000;

/**
 * Handles a batch of messages together. Each message is acknowledged, retried later, or sent to the dead-letter
 * queue.
 */
export async function handleBatch<Event extends { readonly kind: string }>(
  { functionName, parsers, handleEvents }: BatchHandler<Event>,
  { Records }: SQSEvent,
  context: Context,
): Promise<SQSBatchResponse> {
  const location = functionLocation(context);
  const respondBy = Date.now() + context.getRemainingTimeInMillis() - responseReserveMs;
  const queuedEvents = Records.map((record) => parseRecord(record, location, parsers));
  const events = queuedEvents.filter(isHandled);
  const dispositions =
    events.length === 0 ? [] : await handleEvents(events, { location, deadline: deadlineOf(context) });
  const handled: Handled[] = [
    ...events.map((queuedEvent, index) => ({
      queuedEvent,
      disposition: dispositions[index] ?? done,
    })),
    ...queuedEvents.filter(isUnhandled).map((queuedEvent) => ({
      queuedEvent,
      disposition: dispositionOfUnhandled(queuedEvent),
    })),
  ];
  const { clients } = accountFor(location.account, location);
  const batchItemFailures = await applyDispositions(handled, { functionName, clients, respondBy });
  writeApiMetrics();
  return { batchItemFailures };
}

function parseRecord<Event>(
  record: SQSRecord,
  location: FunctionLocation,
  parsers: readonly EventParser<Event>[],
): QueuedEvent<Event | Unhandled> {
  const { ApproximateReceiveCount, SentTimestamp } = record.attributes;
  const scope = { region: location.region, accounts: accountsOf(location) };
  return {
    message: record,
    event: parseEvent(record.body, scope, parsers),
    attempt: Number(ApproximateReceiveCount),
    isOverdue: Date.now() - Number(SentTimestamp) >= settings.objectiveMs,
  };
}

type Parsed = { readonly kind: string };

const isUnhandled = (queuedEvent: QueuedEvent<Parsed>): queuedEvent is QueuedEvent<Unhandled> =>
  queuedEvent.event.kind === 'ignored' || queuedEvent.event.kind === 'malformed';

function isHandled<Event extends Parsed>(
  queuedEvent: QueuedEvent<Event | Unhandled>,
): queuedEvent is QueuedEvent<Event> {
  return !isUnhandled(queuedEvent);
}

const done: Disposition = { kind: 'done' };

/** An EventBridge rule may match more events than the function handles. */
function dispositionOfUnhandled({ event, message }: QueuedEvent<Unhandled>): Disposition {
  const { kind, reason } = event;
  if (kind === 'malformed') return { kind: 'dead-letter', reason };
  log.info('EventIgnored', { cloud: 'aws', messageId: message.messageId, reason });
  return done;
}

interface Handled<D extends Disposition = Disposition> {
  readonly queuedEvent: QueuedEvent<unknown>;
  readonly disposition: D;
}

interface QueueAccess {
  readonly functionName: string;
  readonly clients: Clients;
  readonly respondBy: Deadline;
}

/** @returns the messages that remain in the queue */
async function applyDispositions(
  handled: readonly Handled[],
  access: QueueAccess,
): Promise<SQSBatchResponse['batchItemFailures']> {
  const retried = handled.filter((one): one is Handled<Retry> => one.disposition.kind === 'retry');
  const rejected = handled.filter(
    (one): one is Handled<DeadLettered> => one.disposition.kind === 'dead-letter',
  );
  if (retried.length > 0) await delayAll(retried, access);
  const unsent = await deadLetterAll(rejected, access);
  return [...retried, ...unsent].map(({ queuedEvent }) => ({
    itemIdentifier: queuedEvent.message.messageId,
  }));
}

/** If a message's retry cannot be delayed, SQS delivers the message again after the queue's visibility timeout. */
async function delayAll(
  retried: readonly Handled<Retry>[],
  { clients, respondBy }: QueueAccess,
): Promise<void> {
  const messages = retried.map(({ queuedEvent: { message, attempt }, disposition }) => ({
    message,
    seconds: retryDelaySeconds({
      requestedSeconds: disposition.seconds,
      attempt,
      burstSize: retried.length,
    }),
  }));
  try {
    await delayRetries(clients, messages, { queueUrl: urlOf('queueUrl'), deadline: respondBy });
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    log.warn('RetryDelayFailed', { cloud: 'aws', messages: messages.length, ...errorFields(error) });
  }
}

/** @returns the messages that could not be sent to the dead-letter queue, and must remain in the source queue */
async function deadLetterAll(
  rejected: readonly Handled<DeadLettered>[],
  access: QueueAccess,
): Promise<Handled[]> {
  const isSent = await Promise.all(rejected.map((one) => deadLetter(one, access)));
  return rejected.filter((_, index) => !isSent[index]);
}

async function deadLetter(
  { queuedEvent: { message }, disposition: { reason } }: Handled<DeadLettered>,
  { functionName, clients, respondBy }: QueueAccess,
): Promise<boolean> {
  const fields = { cloud: 'aws', messageId: message.messageId };
  try {
    const target = { queueUrl: urlOf('deadLetterQueueUrl'), deadline: respondBy };
    await sendToDeadLetterQueue(clients, { body: message.body, reason, functionName }, target);
    log.error('EventDeadLettered', { ...fields, reason });
    return true;
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    log.error('DeadLetterFailed', { ...fields, deadLetterReason: reason, ...errorFields(error) });
    return false;
  }
}

function urlOf(setting: 'queueUrl' | 'deadLetterQueueUrl'): string {
  const url = settings[setting];
  if (url !== undefined) return url;
  const variable = setting === 'queueUrl' ? 'PEERMASQ_QUEUE' : 'PEERMASQ_DEAD_LETTERS';
  throw new PermanentError('bad-setting', `${variable} is not set`, {
    advice: 'Set the variable as serverless.yml does.',
  });
}
