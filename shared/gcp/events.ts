import { z } from 'zod';
import { ignored, type NodeEvent } from '../core/events';

const auditLogType = 'google.cloud.audit.log.v1.written';

/** googleapis/google-cloudevents: proto/google/events/cloud/audit/v1/data.proto, the fields we read. */
const cloudEventSchema = z.object({
  type: z.string(),
  time: z.string().optional(),
  data: z.unknown(),
});

const logEntrySchema = z.object({
  protoPayload: z.object({
    serviceName: z.string(),
    methodName: z.string(),
    resourceName: z.string().optional(),
    status: z.object({ code: z.number().optional(), message: z.string().optional() }).nullish(),
  }),
  resource: z.object({ labels: z.record(z.string(), z.unknown()).default({}) }).default({ labels: {} }),
  timestamp: z.string().optional(),
  split: z.object({ index: z.number().optional(), totalSplits: z.number().optional() }).nullish(),
});

type LogEntry = z.infer<typeof logEntrySchema>;

/** Audit logs name the same method with and without the API's version in front. */
const methodPattern = /^(?:(?:v1|beta|alpha)\.)?compute\.(instances|regionInstances)\.(insert|bulkInsert)$/;

/**
 * The patterns of the Compute Engine discovery document (parameters `project`, `zone` and the numeric form of
 * `instance`). Projects may be scoped to a domain, `example.com:my-project`; zones need not end in one letter.
 */
const labelsSchema = z.object({
  project_id: z
    .string()
    .regex(
      /^(?:(?:[-a-z0-9]{1,63}\.)*[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?:)?(?:[0-9]{1,19}|[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)$/,
    ),
  zone: z.string().regex(/^[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?$/),
  instance_id: z.string().regex(/^[1-9][0-9]{0,19}$/),
});

/**
 * What an Eventarc event for the audit log says. An operation has two entries, `first` and `last`; each of
 * them counts, because looking twice is harmless and either may be lost. Never throws.
 */
export function parseGcpEvent(cloudEvent: unknown): NodeEvent {
  const event = cloudEventSchema.safeParse(cloudEvent);
  if (!event.success) return ignored(`not a CloudEvent: ${faultsOf(event.error)}`);
  if (event.data.type !== auditLogType)
    return ignored(`not an audit log event but ${quoted(event.data.type)}`);
  const entry = logEntrySchema.safeParse(event.data.data);
  if (!entry.success) return ignored(`not an audit log entry: ${faultsOf(entry.error)}`);
  return fromEntry(entry.data, event.data.time);
}

function fromEntry({ protoPayload, resource, timestamp, split }: LogEntry, time?: string): NodeEvent {
  const { serviceName, methodName, resourceName, status } = protoPayload;
  if (serviceName !== 'compute.googleapis.com')
    return ignored(`about another service: ${quoted(serviceName)}`);
  const [, , verb] = methodPattern.exec(methodName) ?? [];
  if (verb === undefined) return ignored(`${quoted(methodName)} does not make instances`);
  if (status?.code)
    return ignored(`the operation failed: ${quoted(status.message ?? `code ${status.code}`)}`);
  if (split?.index) return ignored(`part ${split.index + 1} of a split entry: its first part says the same`);
  if (verb === 'bulkInsert' && resource.labels['instance_id'] === undefined) {
    return ignored('bulkInsert does not say which instances it makes: the sweep finds them');
  }
  const labels = labelsSchema.safeParse(resource.labels);
  if (!labels.success) return ignored(`does not identify an instance: ${faultsOf(labels.error)}`);
  const { project_id: project, zone, instance_id: id } = labels.data;
  if (resourceName?.includes('/instances/') && !resourceName.includes(`/zones/${zone}/`)) {
    return ignored(`its zone ${quoted(zone)} is not the one of ${quoted(resourceName)}`);
  }
  const at = [timestamp, time]
    .map((text) => new Date(text ?? ''))
    .find((date) => !Number.isNaN(date.getTime()));
  if (!at) return ignored('does not say when it happened');
  return { kind: 'nodes-joined', nodes: [{ cloud: 'gcp', project, zone, id }], at };
}

/** Reasons reach logs and terminals: hostile text stays on one line, quoted and short. */
const quoted = (text: string): string => JSON.stringify(text.slice(0, 200));

const faultsOf = ({ issues }: z.ZodError): string =>
  issues
    .map(({ path, message }) => `${path.join('.') || 'event'}: ${message}`)
    .join('; ')
    .slice(0, 500);
