import type { Context, SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { parseEvent, type ParsedEvent } from '../../../shared/aws/events/parse-event';
import { sendToDeadLetterQueue, delayRetries, type QueueMessage } from '../../../shared/aws/events/queue';
import { PeermasqError, PermanentError } from '../../../shared/core/model/errors';
import { errorFields } from '../../../shared/core/reconcile/outcome';
import type { Deadline } from '../../../shared/core/cloud';
import { accountFor, accountsOf, log, settings } from './accounts';
import { deadlineOf } from './deadline';
import { functionLocation, type FunctionLocation } from './function-location';
import { writeApiMetrics } from './metrics';
import { retryDelaySeconds } from './retry-delay';

/** An event of ours and the message that brought it. */
export interface QueuedEvent<Event extends ParsedEvent> {
  readonly message: QueueMessage;
  readonly event: Event;
  /** How often it was delivered, this time included. */
  readonly attempt: number;
  /** It was sent longer ago than a node may take to be proven: what is still open now is given up. */
  readonly isOverdue: boolean;
}

/** What is to become of a message. */
export type Disposition =
  { readonly kind: 'done' } | Retry | { readonly kind: 'dead-letter'; readonly reason: string };

export interface Retry {
  readonly kind: 'retry';
  readonly seconds: number;
  readonly reason: string;
}

export interface BatchContext {
  readonly location: FunctionLocation;
  readonly deadline: Deadline;
}

type HandleEvents<Event extends ParsedEvent> = (
  queuedEvents: readonly QueuedEvent<Event>[],
  batch: BatchContext,
) => Promise<readonly Disposition[]>;

/** Kept back from the invocation's time to answer Lambda. */
const responseReserveMs = 1_000;

/**
 * Serves the messages that a queue delivered as one set. Each one leaves the queue when it is dealt with, comes
 * again after a while that grows, or goes to the dead-letter queue with the reason.
 * @param name of the function
 * @param kind of the events that it serves; all others are acknowledged
 * @param serve says for each letter, in their order, what is to become of its message
 */
export async function handleBatch<Kind extends ParsedEvent['kind']>(
  name: string,
  kind: Kind,
  { Records }: SQSEvent,
  context: Context,
  handleEvents: HandleEvents<Extract<ParsedEvent, { kind: Kind }>>,
): Promise<SQSBatchResponse> {
  const location = functionLocation(context);
  const respondBy = Date.now() + context.getRemainingTimeInMillis() - responseReserveMs;
  const queuedEvents = Records.map((record) => parseRecord(record, location));
  const matching = queuedEvents.filter(
    (queuedEvent) => queuedEvent.event.kind === kind,
  ) as unknown as QueuedEvent<Extract<ParsedEvent, { kind: Kind }>>[];
  const dispositions =
    matching.length === 0 ? [] : await handleEvents(matching, { location, deadline: deadlineOf(context) });
  const dispositionOf = new Map<string, Disposition>(
    matching.map(({ message }, index) => [message.messageId, dispositions[index] ?? { kind: 'done' }]),
  );
  const handled = queuedEvents.map((queuedEvent) => ({
    queuedEvent,
    disposition: dispositionOf.get(queuedEvent.message.messageId) ?? dispositionOfOther(queuedEvent),
  }));
  const batchItemFailures = await applyDispositions(name, handled, location, respondBy);
  writeApiMetrics();
  return { batchItemFailures };
}

function parseRecord(record: SQSRecord, location: FunctionLocation): QueuedEvent<ParsedEvent> {
  const { ApproximateReceiveCount, SentTimestamp } = record.attributes;
  return {
    message: record,
    event: parseEvent(record.body, { region: location.region, accounts: accountsOf(location) }),
    attempt: Number(ApproximateReceiveCount),
    isOverdue: Date.now() - Number(SentTimestamp) >= settings.objectiveMs,
  };
}

/** A rule may send more than a function serves. */
function dispositionOfOther({ event, message: { messageId } }: QueuedEvent<ParsedEvent>): Disposition {
  if (event.kind === 'malformed') return { kind: 'dead-letter', reason: event.reason };
  const reason = event.kind === 'ignored' ? event.reason : `${event.kind} is another function's`;
  log.info('EventIgnored', { cloud: 'aws', messageId, reason });
  return { kind: 'done' };
}

interface HandledEvent {
  readonly queuedEvent: QueuedEvent<ParsedEvent>;
  readonly disposition: Disposition;
}

/** @returns the messages that stay in the queue */
async function applyDispositions(
  name: string,
  handled: readonly HandledEvent[],
  location: FunctionLocation,
  respondBy: Deadline,
): Promise<SQSBatchResponse['batchItemFailures']> {
  const retried = handled.filter(({ disposition }) => disposition.kind === 'retry');
  await delayAll(retried, location, respondBy);
  const unsent = await deadLetterAll(
    name,
    handled.filter(({ disposition }) => disposition.kind === 'dead-letter'),
    location,
    respondBy,
  );
  return [...retried, ...unsent].map(({ queuedEvent }) => ({
    itemIdentifier: queuedEvent.message.messageId,
  }));
}

async function delayAll(
  retried: readonly HandledEvent[],
  location: FunctionLocation,
  respondBy: Deadline,
): Promise<void> {
  if (retried.length === 0) return;
  const messages = retried.map(({ queuedEvent: { message, attempt }, disposition }) => ({
    message,
    seconds: retryDelaySeconds(
      disposition.kind === 'retry' ? disposition.seconds : 0,
      attempt,
      retried.length,
    ),
  }));
  try {
    await delayRetries(
      accountFor(location.account, location).clients,
      urlOf('queueUrl'),
      messages,
      respondBy,
    );
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    // They come again all the same, after the queue's own time.
    log.warn('RetryDelayFailed', { cloud: 'aws', messages: messages.length, ...errorFields(error) });
  }
}

/** @returns those that are not in the dead-letter queue, and so must stay where they are */
async function deadLetterAll(
  name: string,
  rejected: readonly HandledEvent[],
  location: FunctionLocation,
  respondBy: Deadline,
): Promise<HandledEvent[]> {
  const { clients } = accountFor(location.account, location);
  const isUnsent = await Promise.all(
    rejected.map(async ({ queuedEvent: { message }, disposition }) => {
      const reason = disposition.kind === 'dead-letter' ? disposition.reason : '';
      const fields = { cloud: 'aws', messageId: message.messageId };
      try {
        await sendToDeadLetterQueue(
          clients,
          urlOf('deadLetterQueueUrl'),
          message,
          { reason, function: name },
          respondBy,
        );
        log.error('EventDeadLettered', { ...fields, reason });
        return false;
      } catch (error) {
        if (!(error instanceof PeermasqError)) throw error;
        log.error('DeadLetterFailed', { ...fields, deadLetterReason: reason, ...errorFields(error) });
        return true;
      }
    }),
  );
  return rejected.filter((_, index) => isUnsent[index]);
}

function urlOf(which: 'queueUrl' | 'deadLetterQueueUrl'): string {
  const url = settings[which];
  if (url !== undefined) return url;
  const variable = which === 'queueUrl' ? 'PEERMASQ_QUEUE' : 'PEERMASQ_DEAD_LETTERS';
  throw new PermanentError('bad-setting', `${variable} is not set`, `Set it as serverless.yml does.`);
}
