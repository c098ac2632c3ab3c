import * as z from 'zod';
import type { GcpNodeRef } from '../../core/model/node';

/** What an event means to us. One that means nothing is a value, not an exception. */
export type ParsedEvent =
  | { readonly kind: 'nodes-joined'; readonly nodes: readonly GcpNodeRef[]; readonly at: Date }
  /** Peerings, routes or ranges of a network of this project. */
  | { readonly kind: 'routes-changed'; readonly project: string; readonly change: string; readonly at: Date }
  | { readonly kind: 'ignored'; readonly reason: string };

const ignored = (reason: string): ParsedEvent => ({ kind: 'ignored', reason });

const auditLogType = 'google.cloud.audit.log.v1.written';

/** From the topic of a log sink, which may gather a whole organisation. */
const pubsubType = 'google.cloud.pubsub.topic.v1.messagePublished';

/** googleapis/google-cloudevents: proto/google/events/cloud/audit/v1/data.proto, the fields we read. */
const cloudEventSchema = z.object({
  type: z.string(),
  time: z.string().optional(),
  data: z.unknown(),
});

/** proto/google/events/cloud/pubsub/v1/data.proto; `data` is base64 of what the sink exports. */
const messageSchema = z.object({ message: z.object({ data: z.base64() }) });

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

/** Audit logs name the same method with and without the API's version in front. */
const methodPattern = /^(?:(?:v1|beta|alpha)\.)?compute\.(\w+)\.(\w+)$/;

/** What makes instances. */
export const instanceInsertMethods = [
  'instances.insert',
  'instances.bulkInsert',
  'regionInstances.bulkInsert',
];

/** What changes where a network's packets go, or which ranges are its own. */
export const routeChangeMethods = [
  'networks.addPeering',
  'networks.removePeering',
  'networks.updatePeering',
  'routes.insert',
  'routes.delete',
  'routers.insert',
  'routers.patch',
  'routers.update',
  'routers.delete',
  'vpnTunnels.insert',
  'vpnTunnels.delete',
  'interconnectAttachments.insert',
  'interconnectAttachments.patch',
  'interconnectAttachments.delete',
  'subnetworks.insert',
  'subnetworks.patch',
  'subnetworks.expandIpCidrRange',
  'subnetworks.delete',
];

/**
 * The patterns of the Compute Engine discovery document (parameters `project`, `zone` and the numeric form of
 * `instance`). Projects may be scoped to a domain, `example.com:my-project`; zones need not end in one letter.
 */
const projectSchema = z
  .string()
  .regex(
    /^(?:(?:[-a-z0-9]{1,63}\.)*[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?:)?(?:[0-9]{1,19}|[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)$/,
  );
const networkLabelsSchema = z.object({ project_id: projectSchema });
const labelsSchema = z.object({
  project_id: projectSchema,
  zone: z.string().regex(/^[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?$/),
  instance_id: z.string().regex(/^[1-9][0-9]{0,19}$/),
});

/**
 * What an Eventarc event for the audit log says, be it from the project itself or from a sink's topic. Never
 * throws.
 * @param projects whose nodes are looked at; none means any
 */
export function parseEvent(cloudEvent: unknown, projects: readonly string[] = []): ParsedEvent {
  const event = cloudEventSchema.safeParse(cloudEvent);
  if (!event.success) return ignored(`not a CloudEvent: ${describeIssues(event.error)}`);
  const { type, data, time } = event.data;
  if (type !== auditLogType && type !== pubsubType)
    return ignored(`not an audit log event but ${quoted(type)}`);
  const entry = logEntrySchema.safeParse(type === pubsubType ? parsePubSubMessage(data) : data);
  if (!entry.success) return ignored(`not an audit log entry: ${describeIssues(entry.error)}`);
  return parseEntry(entry.data, time, projects);
}

/** Undefined where a message carries no JSON: it is then no entry either. */
function parsePubSubMessage(data: unknown): unknown {
  const message = messageSchema.safeParse(data);
  if (!message.success) return undefined;
  try {
    return JSON.parse(Buffer.from(message.data.message.data, 'base64').toString());
  } catch {
    return undefined;
  }
}

function parseEntry(entry: LogEntry, time: string | undefined, projects: readonly string[]): ParsedEvent {
  const { protoPayload, timestamp, split } = entry;
  const { serviceName, methodName, status } = protoPayload;
  if (serviceName !== 'compute.googleapis.com')
    return ignored(`about another service: ${quoted(serviceName)}`);
  if (status?.code)
    return ignored(`the operation failed: ${quoted(status.message ?? `code ${status.code}`)}`);
  if (split?.index) return ignored(`part ${split.index + 1} of a split entry: its first part says the same`);
  const at = [timestamp, time]
    .map((text) => new Date(text ?? ''))
    .find((date) => !Number.isNaN(date.getTime()));
  if (!at) return ignored('does not say when it happened');
  const method = methodPattern.exec(methodName)?.slice(1).join('.') ?? '';
  const event = instanceInsertMethods.includes(method)
    ? nodesJoined(entry, method, at)
    : routeChangeMethods.includes(method)
      ? routesChanged(entry, method, at)
      : ignored(`${quoted(methodName)} makes no instance and changes no route`);
  return event.kind === 'ignored' ? event : ignoreOtherProjects(event, projects);
}

/** A sink may tell of more projects than are ours to look at. */
function ignoreOtherProjects(
  event: Exclude<ParsedEvent, { kind: 'ignored' }>,
  projects: readonly string[],
): ParsedEvent {
  const named = event.kind === 'nodes-joined' ? event.nodes.map(({ project }) => project) : [];
  const foreign = projects.length > 0 ? named.find((project) => !projects.includes(project)) : undefined;
  return foreign === undefined
    ? event
    : ignored(`project ${quoted(foreign)} is not one of PEERMASQ_PROJECTS`);
}

/** An operation has two entries, and each of them counts: looking twice is harmless, and either may be lost. */
function nodesJoined(
  { protoPayload: { resourceName }, resource }: LogEntry,
  method: string,
  at: Date,
): ParsedEvent {
  if (method.endsWith('bulkInsert') && resource.labels['instance_id'] === undefined) {
    return ignored('bulkInsert does not say which instances it makes: the sweep finds them');
  }
  const labels = labelsSchema.safeParse(resource.labels);
  if (!labels.success) return ignored(`does not identify an instance: ${describeIssues(labels.error)}`);
  const { project_id: project, zone, instance_id: id } = labels.data;
  if (resourceName?.includes('/instances/') && !resourceName.includes(`/zones/${zone}/`)) {
    return ignored(`its zone ${quoted(zone)} is not the one of ${quoted(resourceName)}`);
  }
  return { kind: 'nodes-joined', nodes: [{ cloud: 'gcp', project, zone, id }], at };
}

/** Nothing has changed before the operation has ended. The network may be another project's than the nodes. */
function routesChanged({ resource, operation }: LogEntry, change: string, at: Date): ParsedEvent {
  if (operation?.first && !operation.last)
    return ignored(`${change} has only begun: the entry of its end counts`);
  const labels = networkLabelsSchema.safeParse(resource.labels);
  if (!labels.success) return ignored(`does not identify a project: ${describeIssues(labels.error)}`);
  return { kind: 'routes-changed', project: labels.data.project_id, change, at };
}

/** Reasons reach logs and terminals: hostile text stays on one line, quoted and short. */
const quoted = (text: string): string => JSON.stringify(text.slice(0, 200));

const describeIssues = ({ issues }: z.ZodError): string =>
  issues
    .map(({ path, message }) => `${path.join('.') || 'event'}: ${message}`)
    .join('; ')
    .slice(0, 500);
