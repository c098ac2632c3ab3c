import * as z from 'zod';
import { tryParse } from '../../core/util/try-parse';
import { parseLaunchLifecycleAction, parseLaunchSuccessful } from './auto-scaling-launch';
import { parseCommandFinished } from './command-finished';
import { envelopeSchema, ignored, malformed, type Envelope, type ParsedEvent } from './event';
import { parseInstanceStateChanged } from './instance-state-changed';
import { parseRoutesChanged, routeCalls } from './routes-changed';
import { parseRunInstances } from './run-instances';

/** A deployment handles the nodes of these accounts in its own region. */
export interface EventScope {
  readonly region: string;
  readonly accounts: readonly string[];
}

/** @throws ZodError when the detail of the event is malformed */
type Parse = (event: Envelope) => ParsedEvent;

/** By source and detail type. */
const parsers = new Map<string, Parse>([
  ['aws.ec2: EC2 Instance State-change Notification', parseInstanceStateChanged],
  ['aws.ec2: AWS API Call via CloudTrail', parseApiCall],
  ['aws.autoscaling: EC2 Instance-launch Lifecycle Action', parseLaunchLifecycleAction],
  ['aws.autoscaling: EC2 Instance Launch Successful', parseLaunchSuccessful],
  ['aws.ssm: EC2 Command Invocation Status-change Notification', parseCommandFinished],
]);

const apiCallParsers = new Map<string, Parse>([
  ['RunInstances', parseRunInstances],
  ...routeCalls.map((name) => [name, parseRoutesChanged] as const),
]);

const apiCallSchema = z.object({ eventName: z.string(), errorCode: z.string().optional() });

/** A dry run is logged as the error `Client.DryRunOperation`. */
function parseApiCall(event: Envelope): ParsedEvent {
  const { eventName, errorCode } = apiCallSchema.parse(event.detail);
  const parse = apiCallParsers.get(eventName);
  if (!parse) return ignored(`${eventName} neither starts instances nor changes routes`);
  if (errorCode !== undefined) return ignored(`${eventName} failed: ${errorCode}`);
  return parse(event);
}

/** Auto Scaling sends it when a hook names the queue as its target. */
const testNotificationSchema = z.object({ Event: z.literal('autoscaling:TEST_NOTIFICATION') });

/**
 * Parses an event as EventBridge sends it to a queue. Never throws.
 * @param body of the message
 */
export function parseEvent(body: string, scope: EventScope): ParsedEvent {
  const json = tryParse<unknown>(() => JSON.parse(body));
  if (json === undefined) return malformed('the message body is not JSON');
  if (testNotificationSchema.safeParse(json).success) return ignored('test notification of Auto Scaling');
  const envelope = envelopeSchema.safeParse(json);
  return envelope.success
    ? parseEnvelope(envelope.data, scope)
    : malformed(`not an EventBridge event: ${describeIssues(envelope.error)}`);
}

/** The clients do not reach accounts and regions outside of the scope. */
function parseEnvelope(event: Envelope, { region, accounts }: EventScope): ParsedEvent {
  const type = `${event.source}: ${event['detail-type']}`;
  const parse = parsers.get(type);
  if (!parse) return ignored(`unhandled event type: ${type.slice(0, 200)}`);
  if (!accounts.includes(event.account) || event.region !== region) {
    const origin = `account ${event.account.slice(0, 50)} in ${event.region.slice(0, 50)}`;
    return ignored(`event of ${origin}: this deployment handles ${accounts.join(', ')} in ${region}`);
  }
  try {
    return parse(event);
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
