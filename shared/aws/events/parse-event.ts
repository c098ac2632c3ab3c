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

/** A deployment handles the nodes of these accounts in its own region. */
export interface EventScope {
  readonly region: string;
  readonly accounts: readonly string[];
}

/** Auto Scaling sends it when a hook names the queue as its target. */
const testNotificationSchema = z.object({ Event: z.literal('autoscaling:TEST_NOTIFICATION') });

/**
 * Parses an event as EventBridge sends it to a queue. Never throws.
 * @param body of the message
 * @param parsers of the events that are handled; others are ignored
 */
export function parseEvent<Event>(
  body: string,
  scope: EventScope,
  parsers: readonly EventParser<Event>[],
): Event | Ignored | Malformed {
  const json = tryParse<unknown>(() => JSON.parse(body));
  if (json === undefined) return malformed('the message body is not JSON');
  if (testNotificationSchema.safeParse(json).success) return ignored('test notification of Auto Scaling');
  const envelope = envelopeSchema.safeParse(json);
  return envelope.success
    ? parseEnvelope(envelope.data, scope, parsers)
    : malformed(`not an EventBridge event: ${describeIssues(envelope.error)}`);
}

/** The clients do not reach accounts and regions outside the scope. */
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
    return ignored(`event of ${origin}: this deployment handles ${accounts.join(', ')} in ${region}`);
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
