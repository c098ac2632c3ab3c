import * as z from 'zod';
import { tryParse } from '../../core/util/functional';
import { ignored, quoted, type Ignored } from './event';

const auditLogType = 'google.cloud.audit.log.v1.written';

/** The event type of messages from the topic of a log sink. A sink may collect the logs of a whole organisation. */
const pubsubType = 'google.cloud.pubsub.topic.v1.messagePublished';

const cloudEventSchema = z.object({
  type: z.string(),
  time: z.string().optional(),
  data: z.unknown(),
});

/**
 * The message of a log sink (googleapis/google-cloudevents: proto/google/events/cloud/pubsub/v1/data.proto). `data`
 * is a log entry in base64.
 */
const messageSchema = z.object({ message: z.object({ data: z.base64() }) });

/** The fields of a log entry that peermasq uses (proto/google/events/cloud/audit/v1/data.proto). */
const logEntrySchema = z.object({
  protoPayload: z.object({
    serviceName: z.string(),
    methodName: z.string(),
    resourceName: z.string().optional(),
    status: z.object({ code: z.number().optional(), message: z.string().optional() }).nullish(),
  }),
  resource: z.object({ labels: z.record(z.string(), z.unknown()).default({}) }).default({ labels: {} }),
  timestamp: z.string().optional(),
  operation: z.object({ first: z.boolean().optional(), last: z.boolean().optional() }).nullish(),
  split: z.object({ index: z.number().optional(), totalSplits: z.number().optional() }).nullish(),
});

type LogEntry = z.infer<typeof logEntrySchema>;

/** A successful call to the Compute Engine API. */
export interface AuditLogEntry {
  readonly kind: 'entry';
  /** The method as it was logged, such as `v1.compute.instances.insert`. */
  readonly methodName: string;
  /** The method without the API and its version, such as `instances.insert`. Empty for other APIs. */
  readonly method: string;
  readonly resourceName: string | undefined;
  readonly labels: Readonly<Record<string, unknown>>;
  readonly operation: LogEntry['operation'];
  readonly at: Date;
}

/** Matches a method of the Compute Engine API. Audit logs name methods with or without the API version. */
const methodPattern = /^(?:(?:v1|beta|alpha)\.)?compute\.(\w+)\.(\w+)$/;

/** Reads an Eventarc event, which comes from the project itself or from the topic of a log sink. */
export function readAuditLogEntry(cloudEvent: unknown): AuditLogEntry | Ignored {
  const event = cloudEventSchema.safeParse(cloudEvent);
  if (!event.success) return ignored(`not a CloudEvent: ${describeIssues(event.error)}`);
  const { type, data, time } = event.data;
  if (type !== auditLogType && type !== pubsubType)
    return ignored(`not an audit log event: its type is ${quoted(type)}`);
  const entry = logEntrySchema.safeParse(type === pubsubType ? parsePubSubMessage(data) : data);
  if (!entry.success) return ignored(`not an audit log entry: ${describeIssues(entry.error)}`);
  return toAuditLogEntry(entry.data, time);
}

/** Returns undefined if a message contains no JSON and therefore no log entry. */
function parsePubSubMessage(data: unknown): unknown {
  const message = messageSchema.safeParse(data);
  if (!message.success) return undefined;
  return tryParse<unknown>(() => JSON.parse(Buffer.from(message.data.message.data, 'base64').toString()));
}

function toAuditLogEntry(entry: LogEntry, eventTime: string | undefined): AuditLogEntry | Ignored {
  const { protoPayload, resource, operation, timestamp, split } = entry;
  const { serviceName, methodName, resourceName, status } = protoPayload;
  if (serviceName !== 'compute.googleapis.com')
    return ignored(`from another service: ${quoted(serviceName)}`);
  if (status?.code)
    return ignored(`the operation failed: ${quoted(status.message ?? `code ${status.code}`)}`);
  if (split?.index)
    return ignored(`this is part ${split.index + 1} of a split entry: only part 1 is handled`);
  const at = parseDate(timestamp) ?? parseDate(eventTime);
  if (!at) return ignored('the entry has no timestamp');
  const method = methodPattern.exec(methodName)?.slice(1).join('.') ?? '';
  return { kind: 'entry', methodName, method, resourceName, labels: resource.labels, operation, at };
}

function parseDate(text: string | undefined): Date | undefined {
  const date = new Date(text ?? '');
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/**
 * A project ID, as the discovery document of Compute Engine defines it. The ID may include a domain:
 * `example.com:my-project`.
 */
export const projectSchema = z
  .string()
  .regex(
    /^(?:(?:[-a-z0-9]{1,63}\.)*[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?:)?(?:[0-9]{1,19}|[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)$/,
  );

export const describeIssues = ({ issues }: z.ZodError): string =>
  issues
    .map(({ path, message }) => `${path.join('.') || 'event'}: ${message}`)
    .join('; ')
    .slice(0, 500);
