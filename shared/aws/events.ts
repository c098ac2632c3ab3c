import { z } from 'zod';
import { ignored, type NodeEvent } from '../core/events';
import type { AwsNodeRef } from '../core/node';

/** The account and the region that a deployment serves. */
export interface Home {
  readonly account: string;
  readonly region: string;
}

const instanceId = z.string().regex(/^i-([0-9a-f]{8}|[0-9a-f]{17})$/);

const envelope = z.object({
  source: z.string(),
  'detail-type': z.string(),
  account: z.string(),
  region: z.string(),
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

/**
 * Reads an event as EventBridge delivers it. Whatever else arrives is ignored with the reason; never throws.
 * So are events that another account or region forwards: the clients of this deployment do not reach there.
 */
export function parseAwsEvent(event: unknown, home: Home): NodeEvent {
  const read = envelope.safeParse(event);
  if (!read.success) return ignored(`not an EventBridge event: ${faults(read.error)}`);
  const kind = `${read.data.source}: ${read.data['detail-type']}`;
  const parse = parsers.get(kind);
  if (!parse) return ignored(`not an event of ours: ${kind.slice(0, 200)}`);
  const { account, region } = read.data;
  if (account !== home.account || region !== home.region) {
    return ignored(
      `an event of account ${account.slice(0, 50)} in ${region.slice(0, 50)}; served is ${home.account} in ${home.region}`,
    );
  }
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
