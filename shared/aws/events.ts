import { z } from 'zod';
import { ignored, type NodeEvent } from '../core/events';
import type { AwsNodeRef } from '../core/node';

const instanceId = z.string().regex(/^i-[0-9a-f]{8,17}$/);

const envelope = z.object({
  source: z.string(),
  'detail-type': z.string(),
  account: z.string().regex(/^[0-9]{12}$/),
  region: z.string().regex(/^[a-z]{2,4}(-[a-z]+){1,3}-[0-9]{1,2}$/),
  time: z.iso.datetime({ offset: true }),
  detail: z.unknown(),
});
type Envelope = z.infer<typeof envelope>;

function joined({ account, region, time }: Envelope, ids: readonly string[]): NodeEvent {
  const nodes = [...new Set(ids)].map((id): AwsNodeRef => ({ cloud: 'aws', account, region, id }));
  return { kind: 'nodes-joined', nodes, at: new Date(time) };
}

const stateChange = z.object({ 'instance-id': instanceId, state: z.string() });

function parseStateChange(event: Envelope): NodeEvent {
  const { 'instance-id': id, state } = stateChange.parse(event.detail);
  return state === 'running' ? joined(event, [id]) : ignored(`${id} is ${state}, not running`);
}

const apiCall = z.object({
  eventName: z.string(),
  errorCode: z.string().optional(),
  responseElements: z.unknown(),
});
const instancesStarted = z.object({
  instancesSet: z.object({ items: z.array(z.object({ instanceId })).min(1) }),
});

/** A dry run arrives as the error `Client.DryRunOperation`. */
function parseApiCall(event: Envelope): NodeEvent {
  const { eventName, errorCode, responseElements } = apiCall.parse(event.detail);
  if (eventName !== 'RunInstances') return ignored(`${eventName} starts no node`);
  if (errorCode !== undefined) return ignored(`RunInstances started nothing: ${errorCode}`);
  if (responseElements == null) return ignored('RunInstances has no response: it started nothing');
  const { items } = instancesStarted.parse(responseElements).instancesSet;
  return joined(
    event,
    items.map((item) => item.instanceId),
  );
}

const parsers = new Map([
  ['aws.ec2: EC2 Instance State-change Notification', parseStateChange],
  ['aws.ec2: AWS API Call via CloudTrail', parseApiCall],
]);

/** Reads an event as EventBridge delivers it. Whatever else arrives is ignored with the reason; never throws. */
export function parseAwsEvent(event: unknown): NodeEvent {
  const read = envelope.safeParse(event);
  if (!read.success) return ignored(`not an EventBridge event: ${faults(read.error)}`);
  const kind = `${read.data.source}: ${read.data['detail-type']}`;
  const parse = parsers.get(kind);
  if (!parse) return ignored(`not an event of ours: ${kind.slice(0, 200)}`);
  try {
    return parse(read.data);
  } catch (error) {
    if (error instanceof z.ZodError) return ignored(`malformed ${kind}: ${faults(error)}`);
    throw error;
  }
}

function faults({ issues }: z.ZodError): string {
  return issues
    .map(({ path, message }) => `${path.join('.') || 'it'}: ${message}`)
    .join('; ')
    .slice(0, 500);
}
