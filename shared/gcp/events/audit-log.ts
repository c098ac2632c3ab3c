import * as z from 'zod';
import { tryParse } from '../../core/util/functional';
import { ignored, quoted, type Ignored } from './event';

const auditLogType = 'google.cloud.audit.log.v1.written';

/** From the topic of a log sink, which may collect the logs of an organisation. */
const pubsubType = 'google.cloud.pubsub.topic.v1.messagePublished';

const cloudEventSchema = z.object({
  type: z.string(),
  time: z.string().optional(),
  data: z.unknown(),
});

/** googleapis/google-cloudevents: proto/google/events/cloud/pubsub/v1/data.proto; `data` is the base64 of an entry. */
const messageSchema = z.object({ message: z.object({ data: z.base64() }) });

/** proto/google/events/cloud/audit/v1/data.proto, the fields used here. */
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

/** A successful call of the Compute Engine API. */
export interface AuditLogEntry {
  readonly kind: 'entry';
  /** As logged: `v1.compute.instances.insert`. */
  readonly methodName: string;
  /** Without the API and its version: `instances.insert`; empty for other APIs. */
  readonly method: string;
  readonly resourceName: string | undefined;
  readonly labels: Readonly<Record<string, unknown>>;
  readonly operation: LogEntry['operation'];
  readonly at: Date;
}

/** Audit logs name a method with or without the API version in front. */
const methodPattern = /^(?:(?:v1|beta|alpha)\.)?compute\.(\w+)\.(\w+)$/;

/** Reads an Eventarc event, sent by the project itself or by the topic of a log sink. */
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

/** Undefined where a message carries no JSON, and so no entry. */
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
  if (split?.index) return ignored(`part ${split.index + 1} of a split entry: part 1 is handled`);
  const at = parseDate(timestamp) ?? parseDate(eventTime);
  if (!at) return ignored('has no timestamp');
  const method = methodPattern.exec(methodName)?.slice(1).join('.') ?? '';
  return { kind: 'entry', methodName, method, resourceName, labels: resource.labels, operation, at };
}

function parseDate(text: string | undefined): Date | undefined {
  const date = new Date(text ?? '');
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/**
 * The pattern of the parameter `project` in the discovery document of Compute Engine. Projects may be scoped to a
 * domain: `example.com:my-project`.
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
