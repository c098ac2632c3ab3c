import type { Context, SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import type { Clients } from '../../../shared/aws/client/clients';
import type { ParsedEvent } from '../../../shared/aws/events/event';
import { parseEvent } from '../../../shared/aws/events/parse-event';
import { delayRetries, sendToDeadLetterQueue, type QueueMessage } from '../../../shared/aws/events/queue';
import type { Deadline } from '../../../shared/core/cloud';
import { PeermasqError, PermanentError } from '../../../shared/core/model/errors';
import { errorFields } from '../../../shared/core/reconcile/outcome';
import { accountFor, accountsOf, log, settings } from './accounts';
import { deadlineOf, functionLocation, type FunctionLocation } from './invocation';
import { writeApiMetrics } from './metrics';
import { retryDelaySeconds } from './retry-delay';

/** A parsed event with the message that carried it. */
export interface QueuedEvent<Event extends ParsedEvent> {
  readonly message: QueueMessage;
  readonly event: Event;
  /** Deliveries so far, this one included. */
  readonly attempt: number;
  /** The objective has passed since the message was sent: what is not done now is given up. */
  readonly isOverdue: boolean;
}

/** What happens to a message. */
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

type EventOf<Kind extends ParsedEvent['kind']> = Extract<ParsedEvent, { kind: Kind }>;

export interface BatchHandler<Kind extends ParsedEvent['kind']> {
  readonly functionName: string;
  /** Events of other kinds are ignored. */
  readonly kind: Kind;
  /** Returns the disposition of each event, in their order. */
  readonly handleEvents: (
    queuedEvents: readonly QueuedEvent<EventOf<Kind>>[],
    batch: BatchContext,
  ) => Promise<readonly Disposition[]>;
}

/** For the response to Lambda. */
const responseReserveMs = 1_000;

/** Handles a batch of messages together. Each is acknowledged, retried later, or sent to the dead-letter queue. */
export async function handleBatch<Kind extends ParsedEvent['kind']>(
  { functionName, kind, handleEvents }: BatchHandler<Kind>,
  { Records }: SQSEvent,
  context: Context,
): Promise<SQSBatchResponse> {
  const location = functionLocation(context);
  const respondBy = Date.now() + context.getRemainingTimeInMillis() - responseReserveMs;
  const queuedEvents = Records.map((record) => parseRecord(record, location));
  const matching = queuedEvents.filter(hasKind(kind));
  const dispositions =
    matching.length === 0 ? [] : await handleEvents(matching, { location, deadline: deadlineOf(context) });
  const byMessageId = new Map<string, Disposition>(
    matching.map(({ message }, index) => [message.messageId, dispositions[index] ?? { kind: 'done' }]),
  );
  const handled = queuedEvents.map((queuedEvent) => ({
    queuedEvent,
    disposition: byMessageId.get(queuedEvent.message.messageId) ?? dispositionOfOther(queuedEvent),
  }));
  const { clients } = accountFor(location.account, location);
  const batchItemFailures = await applyDispositions(handled, { functionName, clients, respondBy });
  writeApiMetrics();
  return { batchItemFailures };
}

const hasKind =
  <Kind extends ParsedEvent['kind']>(kind: Kind) =>
  (queuedEvent: QueuedEvent<ParsedEvent>): queuedEvent is QueuedEvent<EventOf<Kind>> =>
    queuedEvent.event.kind === kind;

function parseRecord(record: SQSRecord, location: FunctionLocation): QueuedEvent<ParsedEvent> {
  const { ApproximateReceiveCount, SentTimestamp } = record.attributes;
  return {
    message: record,
    event: parseEvent(record.body, { region: location.region, accounts: accountsOf(location) }),
    attempt: Number(ApproximateReceiveCount),
    isOverdue: Date.now() - Number(SentTimestamp) >= settings.objectiveMs,
  };
}

/** A rule may send more than the function handles. */
function dispositionOfOther({ event, message: { messageId } }: QueuedEvent<ParsedEvent>): Disposition {
  if (event.kind === 'malformed') return { kind: 'dead-letter', reason: event.reason };
  const reason = event.kind === 'ignored' ? event.reason : `another function handles ${event.kind}`;
  log.info('EventIgnored', { cloud: 'aws', messageId, reason });
  return { kind: 'done' };
}

interface Handled<D extends Disposition = Disposition> {
  readonly queuedEvent: QueuedEvent<ParsedEvent>;
  readonly disposition: D;
}

interface QueueAccess {
  readonly functionName: string;
  readonly clients: Clients;
  readonly respondBy: Deadline;
}

/** @returns the messages that stay in the queue */
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

/** A message that cannot be delayed is delivered again after the visibility timeout of the queue. */
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

/** @returns those that could not be sent, and must stay in the queue */
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
  throw new PermanentError('bad-setting', `${variable} is not set`, 'Set it as serverless.yml does.');
}
