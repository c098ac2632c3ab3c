import type { Context, SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { parseAwsEvent, type AwsEvent } from '../../shared/aws/events';
import { bury, postpone, type Delivered } from '../../shared/aws/queue';
import { PeermasqError, PermanentError } from '../../shared/core/errors';
import { faultFields } from '../../shared/core/outcome';
import type { Deadline } from '../../shared/core/ports';
import { accountFor, accountsOf, log, settings } from './accounts';
import { deadlineOf } from './deadline';
import { homeOf, type Home } from './home';
import { writeApiMetrics } from './metrics';
import { nextLookSeconds } from './next-look';

/** An event of ours and the message that brought it. */
export interface Letter<Event extends AwsEvent> {
  readonly message: Delivered;
  readonly event: Event;
  /** How often it was delivered, this time included. */
  readonly attempt: number;
  /** It was sent longer ago than a node may take to be proven: what is still open now is given up. */
  readonly isOverdue: boolean;
}

/** What is to become of a message. */
export type Fate = { readonly kind: 'done' } | Again | { readonly kind: 'dead'; readonly reason: string };

export interface Again {
  readonly kind: 'again';
  readonly seconds: number;
  readonly reason: string;
}

export interface Batch {
  readonly home: Home;
  readonly deadline: Deadline;
}

type Serve<Event extends AwsEvent> = (
  letters: readonly Letter<Event>[],
  batch: Batch,
) => Promise<readonly Fate[]>;

/** Kept back from the invocation's time to answer Lambda. */
const answerMs = 1_000;

/**
 * Serves the messages that a queue delivered as one set. Each one leaves the queue when it is dealt with, comes
 * again after a while that grows, or goes to the dead-letter queue with the reason.
 * @param name of the function
 * @param kind of the events that it serves; all others are acknowledged
 * @param serve says for each letter, in their order, what is to become of its message
 */
export async function serveBatch<Kind extends AwsEvent['kind']>(
  name: string,
  kind: Kind,
  { Records }: SQSEvent,
  context: Context,
  serve: Serve<Extract<AwsEvent, { kind: Kind }>>,
): Promise<SQSBatchResponse> {
  const home = homeOf(context);
  const answerBy = Date.now() + context.getRemainingTimeInMillis() - answerMs;
  const letters = Records.map((record) => read(record, home));
  const ours = letters.filter((letter) => letter.event.kind === kind) as unknown as Letter<
    Extract<AwsEvent, { kind: Kind }>
  >[];
  const fates = ours.length === 0 ? [] : await serve(ours, { home, deadline: deadlineOf(context) });
  const fateOf = new Map<string, Fate>(
    ours.map(({ message }, index) => [message.messageId, fates[index] ?? { kind: 'done' }]),
  );
  const ends = letters.map((letter) => ({
    letter,
    fate: fateOf.get(letter.message.messageId) ?? fateOfOther(letter),
  }));
  const batchItemFailures = await carryOut(name, ends, home, answerBy);
  writeApiMetrics();
  return { batchItemFailures };
}

function read(record: SQSRecord, home: Home): Letter<AwsEvent> {
  const { ApproximateReceiveCount, SentTimestamp } = record.attributes;
  return {
    message: record,
    event: parseAwsEvent(record.body, { region: home.region, accounts: accountsOf(home) }),
    attempt: Number(ApproximateReceiveCount),
    isOverdue: Date.now() - Number(SentTimestamp) >= settings.objectiveMs,
  };
}

/** A rule may send more than a function serves. */
function fateOfOther({ event, message: { messageId } }: Letter<AwsEvent>): Fate {
  if (event.kind === 'malformed') return { kind: 'dead', reason: event.reason };
  const reason = event.kind === 'ignored' ? event.reason : `${event.kind} is another function's`;
  log.info('EventIgnored', { cloud: 'aws', messageId, reason });
  return { kind: 'done' };
}

interface End {
  readonly letter: Letter<AwsEvent>;
  readonly fate: Fate;
}

/** @returns the messages that stay in the queue */
async function carryOut(
  name: string,
  ends: readonly End[],
  home: Home,
  answerBy: Deadline,
): Promise<SQSBatchResponse['batchItemFailures']> {
  const staying = ends.filter(({ fate }) => fate.kind === 'again');
  await postponeAll(staying, home, answerBy);
  const unburied = await buryAll(
    name,
    ends.filter(({ fate }) => fate.kind === 'dead'),
    home,
    answerBy,
  );
  return [...staying, ...unburied].map(({ letter }) => ({ itemIdentifier: letter.message.messageId }));
}

async function postponeAll(staying: readonly End[], home: Home, answerBy: Deadline): Promise<void> {
  if (staying.length === 0) return;
  const messages = staying.map(({ letter: { message, attempt }, fate }) => ({
    message,
    seconds: nextLookSeconds(fate.kind === 'again' ? fate.seconds : 0, attempt, staying.length),
  }));
  try {
    await postpone(accountFor(home.account, home).clients, urlOf('queue'), messages, answerBy);
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    // They come again all the same, after the queue's own time.
    log.warn('PostponeFailed', { cloud: 'aws', messages: messages.length, ...faultFields(error) });
  }
}

/** @returns those that are not in the dead-letter queue, and so must stay where they are */
async function buryAll(name: string, dead: readonly End[], home: Home, answerBy: Deadline): Promise<End[]> {
  const { clients } = accountFor(home.account, home);
  const isUnburied = await Promise.all(
    dead.map(async ({ letter: { message }, fate }) => {
      const reason = fate.kind === 'dead' ? fate.reason : '';
      const fields = { cloud: 'aws', messageId: message.messageId };
      try {
        await bury(clients, urlOf('deadLetters'), message, { reason, function: name }, answerBy);
        log.error('EventBuried', { ...fields, reason });
        return false;
      } catch (error) {
        if (!(error instanceof PeermasqError)) throw error;
        log.error('BuryFailed', { ...fields, buriedFor: reason, ...faultFields(error) });
        return true;
      }
    }),
  );
  return dead.filter((_, index) => isUnburied[index]);
}

function urlOf(which: 'queue' | 'deadLetters'): string {
  const url = settings[which];
  if (url !== undefined) return url;
  const variable = which === 'queue' ? 'PEERMASQ_QUEUE' : 'PEERMASQ_DEAD_LETTERS';
  throw new PermanentError('bad-setting', `${variable} is not set`, `Set it as serverless.yml does.`);
}
