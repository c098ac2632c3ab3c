import * as z from 'zod';
import { tryParse } from '../../core/util/functional';
import {
  envelopeSchema,
  ignored,
  malformed,
  type Envelope,
  type EventParser,
  type Ignored,
  type Malformed,
} from './event';

/** The region and the accounts whose nodes a deployment handles. */
export interface EventScope {
  readonly region: string;
  readonly accounts: readonly string[];
}

/** The message that Auto Scaling sends when the queue becomes the target of a lifecycle hook. */
const testNotificationSchema = z.object({ Event: z.literal('autoscaling:TEST_NOTIFICATION') });

/**
 * Parses an event that EventBridge sent to a queue. Never throws.
 * @param body the body of the queue message
 * @param parsers for the types of events that are handled; all other events are ignored
 */
export function parseEvent<Event>(
  body: string,
  scope: EventScope,
  parsers: readonly EventParser<Event>[],
): Event | Ignored | Malformed {
  const json = tryParse<unknown>(() => JSON.parse(body));
  if (json === undefined) return malformed('the message body is not JSON');
  if (testNotificationSchema.safeParse(json).success) return ignored('test notification from Auto Scaling');
  const envelope = envelopeSchema.safeParse(json);
  return envelope.success
    ? parseEnvelope(envelope.data, scope, parsers)
    : malformed(`not an EventBridge event: ${describeIssues(envelope.error)}`);
}

/** Ignores events from accounts and regions outside the scope, because the clients have no access there. */
function parseEnvelope<Event>(
  event: Envelope,
  { region, accounts }: EventScope,
  parsers: readonly EventParser<Event>[],
): Event | Ignored | Malformed {
  const type = `${event.source}: ${event['detail-type']}`;
  const parser = parsers.find(
    (one) => one.source === event.source && one.detailType === event['detail-type'],
  );
  if (!parser) return ignored(`unhandled event type: ${type.slice(0, 200)}`);
  if (!accounts.includes(event.account) || event.region !== region) {
    const origin = `account ${event.account.slice(0, 50)} in ${event.region.slice(0, 50)}`;
    return ignored(`event from ${origin}: this deployment handles ${accounts.join(', ')} in ${region}`);
  }
  try {
    return parser.parse(event);
  } catch (error) {
    if (error instanceof z.ZodError) return malformed(`malformed ${type}: ${describeIssues(error)}`);
    throw error;
  }
}

function describeIssues({ issues }: z.ZodError): string {
  return issues
    .map(({ path, message }) => `${path.join('.') || 'event'}: ${message}`)
    .join('; ')
    .slice(0, 500);
}
