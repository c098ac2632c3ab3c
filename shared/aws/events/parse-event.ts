import * as z from 'zod';
import type { AwsNodeRef } from '../../core/model/node';
import type { Launch } from './launch';
import { launchHookPrefix } from '../names';

/** What a deployment serves: nodes of these accounts in its own region. */
export interface EventScope {
  readonly region: string;
  readonly accounts: readonly string[];
}

/** What an event means to us. One that means nothing is a value, and so is one that should mean something. */
export type ParsedEvent =
  | {
      readonly kind: 'nodes-joined';
      readonly by: 'running' | 'started' | 'launched' | 'held';
      readonly nodes: readonly AwsNodeRef[];
      readonly at: Date;
      /** An Auto Scaling group waits for a word about this one launch. */
      readonly launch?: Launch;
    }
  /** Most of these events do not say in which network: whoever hears of one looks at all. */
  | { readonly kind: 'routes-changed'; readonly change: string; readonly account: string; readonly at: Date }
  | {
      readonly kind: 'command-finished';
      readonly node: AwsNodeRef;
      readonly commandId: string;
      readonly requestedAt: Date;
    }
  | { readonly kind: 'ignored'; readonly reason: string }
  /** Nothing can be made of it, however often it is read. */
  | { readonly kind: 'malformed'; readonly reason: string };

const ignored = (reason: string): ParsedEvent => ({ kind: 'ignored', reason });
const malformed = (reason: string): ParsedEvent => ({ kind: 'malformed', reason });

const instanceId = z.string().regex(/^i-([0-9a-f]{8}|[0-9a-f]{17})$/);
const timestamp = z.iso.datetime({ offset: true });

const envelope = z.object({
  source: z.string(),
  'detail-type': z.string(),
  account: z.string(),
  region: z.string(),
  time: timestamp,
  detail: z.unknown(),
});
type Envelope = z.infer<typeof envelope>;

const nodeIn = ({ account, region }: Envelope, id: string): AwsNodeRef => ({
  cloud: 'aws',
  account,
  region,
  id,
});

type NodesJoined = Extract<ParsedEvent, { kind: 'nodes-joined' }>;

function nodesJoined(event: Envelope, by: NodesJoined['by'], ids: readonly string[]): NodesJoined {
  const nodes = [...new Set(ids)].map((id) => nodeIn(event, id));
  return { kind: 'nodes-joined', by, nodes, at: new Date(event.time) };
}

const stateChange = z.object({ 'instance-id': instanceId, state: z.string() });

function parseStateChange(event: Envelope): ParsedEvent {
  const { 'instance-id': id, state } = stateChange.parse(event.detail);
  return state === 'running'
    ? nodesJoined(event, 'running', [id])
    : ignored(`${id} is ${state}, not running`);
}

const apiCall = z.object({
  eventName: z.string(),
  errorCode: z.string().optional(),
  responseElements: z.unknown().optional(),
});
const instancesStarted = z.object({
  instancesSet: z.object({ items: z.array(z.object({ instanceId })).min(1) }),
});

/** Calls that change where routes lead. */
export const routeCalls = [
  'CreateVpcPeeringConnection',
  'AcceptVpcPeeringConnection',
  'DeleteVpcPeeringConnection',
  'CreateRoute',
  'ReplaceRoute',
  'DeleteRoute',
  'AssociateRouteTable',
  'DisassociateRouteTable',
  'ReplaceRouteTableAssociation',
] as const;

/** A dry run arrives as the error `Client.DryRunOperation`. */
function parseApiCall(event: Envelope): ParsedEvent {
  const { eventName, errorCode, responseElements } = apiCall.parse(event.detail);
  const changesRoutes = (routeCalls as readonly string[]).includes(eventName);
  if (!changesRoutes && eventName !== 'RunInstances') return ignored(`${eventName} starts no node`);
  if (errorCode !== undefined) return ignored(`${eventName} did nothing: ${errorCode}`);
  if (changesRoutes) {
    return { kind: 'routes-changed', change: eventName, account: event.account, at: new Date(event.time) };
  }
  if (responseElements == null) return ignored('RunInstances has no response: it started nothing');
  const { items } = instancesStarted.parse(responseElements).instancesSet;
  return nodesJoined(
    event,
    'started',
    items.map((item) => item.instanceId),
  );
}

const lifecycleAction = z.object({
  LifecycleActionToken: z.string(),
  AutoScalingGroupName: z.string(),
  LifecycleHookName: z.string(),
  EC2InstanceId: instanceId,
});

/** Other hooks are other tools' to complete; the node joins all the same. */
function parseLifecycleAction(event: Envelope): ParsedEvent {
  const action = lifecycleAction.parse(event.detail);
  const { EC2InstanceId: id, LifecycleHookName: hook } = action;
  if (!hook.startsWith(launchHookPrefix)) return nodesJoined(event, 'launched', [id]);
  const [group, token] = [action.AutoScalingGroupName, action.LifecycleActionToken];
  return { ...nodesJoined(event, 'held', [id]), launch: { instanceId: id, group, hook, token } };
}

function parseLaunched(event: Envelope): ParsedEvent {
  const { EC2InstanceId: id } = z.object({ EC2InstanceId: instanceId }).parse(event.detail);
  return nodesJoined(event, 'launched', [id]);
}

const invocation = z.object({
  'command-id': z.uuid(),
  'instance-id': z.string(),
  'requested-date-time': timestamp,
  status: z.string(),
});

const isInProgress = (status: string) => /^(Pending|Delayed|InProgress|Cancelling)$/.test(status);

function parseInvocation(event: Envelope): ParsedEvent {
  const { 'command-id': commandId, 'instance-id': id, status, ...rest } = invocation.parse(event.detail);
  if (isInProgress(status)) return ignored(`command ${commandId} is ${status} on ${id}`);
  if (!instanceId.safeParse(id).success) return ignored(`${id} is no EC2 instance`);
  const requestedAt = new Date(rest['requested-date-time']);
  return { kind: 'command-finished', node: nodeIn(event, id), commandId, requestedAt };
}

const parsers = new Map([
  ['aws.ec2: EC2 Instance State-change Notification', parseStateChange],
  ['aws.ec2: AWS API Call via CloudTrail', parseApiCall],
  ['aws.autoscaling: EC2 Instance-launch Lifecycle Action', parseLifecycleAction],
  ['aws.autoscaling: EC2 Instance Launch Successful', parseLaunched],
  ['aws.ssm: EC2 Command Invocation Status-change Notification', parseInvocation],
]);

/** What Auto Scaling sends itself where a hook names the queue as its target. */
const testNotification = z.object({ Event: z.literal('autoscaling:TEST_NOTIFICATION') });

/**
 * Reads an event as EventBridge puts it into a queue. Never throws.
 * @param body the text of the message
 */
export function parseEvent(body: string, scope: EventScope): ParsedEvent {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    return malformed('The message body is not JSON.');
  }
  if (testNotification.safeParse(json).success) return ignored('a test notification of Auto Scaling');
  const read = envelope.safeParse(json);
  return read.success
    ? parseEnvelope(read.data, scope)
    : malformed(`not an EventBridge event: ${describeIssues(read.error)}`);
}

/** Events that other accounts or regions forward are ignored: the clients do not reach there. */
function parseEnvelope(event: Envelope, { region, accounts }: EventScope): ParsedEvent {
  const kind = `${event.source}: ${event['detail-type']}`;
  const parse = parsers.get(kind);
  if (!parse) return ignored(`not an event of ours: ${kind.slice(0, 200)}`);
  if (!accounts.includes(event.account) || event.region !== region) {
    return ignored(
      `an event of account ${event.account.slice(0, 50)} in ${event.region.slice(0, 50)}; served are ${accounts.join(', ')} in ${region}`,
    );
  }
  try {
    return parse(event);
  } catch (error) {
    if (error instanceof z.ZodError) return malformed(`malformed ${kind}: ${describeIssues(error)}`);
    throw error;
  }
}

function describeIssues({ issues }: z.ZodError): string {
  return issues
    .map(({ path, message }) => `${path.join('.') || 'it'}: ${message}`)
    .join('; ')
    .slice(0, 500);
}
