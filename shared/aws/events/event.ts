import * as z from 'zod';
import type { AwsNodeRef } from '../../core/model/node';

/** A launch that an Auto Scaling group holds until its lifecycle hook is completed. */
export interface Launch {
  readonly instanceId: string;
  readonly group: string;
  readonly hook: string;
  readonly token: string;
}

export interface NodesJoined {
  readonly kind: 'nodes-joined';
  readonly trigger: 'instance-running' | 'run-instances' | 'auto-scaling-launch' | 'launch-hook';
  readonly nodes: readonly AwsNodeRef[];
  readonly at: Date;
  /** Present if an Auto Scaling group holds the launch until its lifecycle hook is completed. */
  readonly launch?: Launch;
}

/**
 * A change of routes or peerings. Most of these events do not identify a network, so all nodes in the account are
 * reconciled.
 */
export interface RoutesChanged {
  readonly kind: 'routes-changed';
  /** The name of the API call, such as `CreateRoute`. */
  readonly change: string;
  readonly account: string;
  readonly at: Date;
}

/**
 * An SSM command has finished on an instance. The command may belong to any SSM document, including those of other
 * tools.
 */
export interface CommandFinished {
  readonly kind: 'command-finished';
  readonly node: AwsNodeRef;
  readonly commandId: string;
  readonly requestedAt: Date;
}

export interface Ignored {
  readonly kind: 'ignored';
  readonly reason: string;
}

/** An event that should be handled but cannot be parsed. Retrying does not help. */
export interface Malformed {
  readonly kind: 'malformed';
  readonly reason: string;
}

export const ignored = (reason: string): Ignored => ({ kind: 'ignored', reason });
export const malformed = (reason: string): Malformed => ({ kind: 'malformed', reason });

export const instanceIdSchema = z.string().regex(/^i-([0-9a-f]{8}|[0-9a-f]{17})$/);
export const timestampSchema = z.iso.datetime({ offset: true });

export const envelopeSchema = z.object({
  source: z.string(),
  'detail-type': z.string(),
  account: z.string(),
  region: z.string(),
  time: timestampSchema,
  detail: z.unknown(),
});

/** The fields that EventBridge adds to the detail of every event. */
export type Envelope = z.infer<typeof envelopeSchema>;

/** Parses one type of event. */
export interface EventParser<Event> {
  readonly source: string;
  readonly detailType: string;
  /** @throws ZodError when the detail of the event is malformed */
  readonly parse: (event: Envelope) => Event | Ignored;
}

const apiCallSchema = z.object({ eventName: z.string(), errorCode: z.string().optional() });

/**
 * Returns a parser for successful calls of the given EC2 actions, as CloudTrail logs them. CloudTrail logs a dry run
 * with the error code `Client.DryRunOperation`.
 */
export function apiCallParser<Event>(
  actions: readonly string[],
  parse: EventParser<Event>['parse'],
): EventParser<Event> {
  return {
    source: 'aws.ec2',
    detailType: 'AWS API Call via CloudTrail',
    parse(event) {
      const { eventName, errorCode } = apiCallSchema.parse(event.detail);
      if (!actions.includes(eventName)) return ignored(`unhandled API call: ${eventName.slice(0, 200)}`);
      return errorCode === undefined ? parse(event) : ignored(`${eventName} failed: ${errorCode}`);
    },
  };
}

export function nodeRef({ account, region }: Envelope, id: string): AwsNodeRef {
  return { cloud: 'aws', account, region, id };
}

export function nodesJoined(
  event: Envelope,
  trigger: NodesJoined['trigger'],
  ids: readonly string[],
): NodesJoined {
  const nodes = [...new Set(ids)].map((id) => nodeRef(event, id));
  return { kind: 'nodes-joined', trigger, nodes, at: new Date(event.time) };
}
