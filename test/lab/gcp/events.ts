import { randomUUID } from 'node:crypto';
import type { LabVm } from './state';

type Event = Record<string, unknown>;
type Entry = 'first' | 'last';

/**
 * Returns one of the two events that Eventarc delivers when a VM is inserted: the audit log entry at the start of the
 * operation or the one at its end. The event's shape follows googleapis/google-cloudevents,
 * proto/google/events/cloud/audit/v1/data.proto, like the events in test/events/gcp.
 */
export const insertEvent = ({ project, zone, name, id }: LabVm, entry: Entry): Event =>
  auditEvent(project, entry, {
    methodName: 'v1.compute.instances.insert',
    resourceName: `projects/${project}/zones/${zone}/instances/${name}`,
    principalEmail: '415104041262@cloudservices.gserviceaccount.com',
    resource: { type: 'gce_instance', labels: { project_id: project, zone, instance_id: id } },
  });

/** Returns one of the two events that Eventarc delivers when a network's peering changes. */
export const peeringEvent = (
  project: string,
  network: string,
  method: 'addPeering' | 'removePeering' | 'updatePeering',
  entry: Entry,
): Event =>
  auditEvent(project, entry, {
    methodName: `v1.compute.networks.${method}`,
    resourceName: `projects/${project}/global/networks/${network}`,
    principalEmail: 'admin@example.com',
    resource: { type: 'gce_network', labels: { project_id: project, network_id: '7505145839472187905' } },
  });

/**
 * Returns the event that Eventarc delivers when a log sink exports the audit log entry of the given event to a Pub/Sub
 * topic. The event's shape follows googleapis/google-cloudevents, proto/google/events/cloud/pubsub/v1/data.proto.
 */
export function asPubsub({ data }: Event): Event {
  const time = new Date().toISOString();
  const topic = 'projects/platform-logs/topics/peermasq';
  return {
    specversion: '1.0',
    id: randomUUID(),
    source: `//pubsub.googleapis.com/${topic}`,
    type: 'google.cloud.pubsub.topic.v1.messagePublished',
    time,
    datacontenttype: 'application/json',
    data: {
      subscription: 'projects/platform-logs/subscriptions/eventarc-europe-west1-peermasq-sub-001',
      message: {
        data: Buffer.from(JSON.stringify(data)).toString('base64'),
        attributes: { 'logging.googleapis.com/timestamp': time },
        messageId: '17293846520193847',
        publishTime: time,
      },
    },
  };
}

interface Audited {
  readonly methodName: string;
  readonly resourceName: string;
  readonly principalEmail: string;
  readonly resource: { readonly type: string; readonly labels: Readonly<Record<string, string>> };
}

function auditEvent(project: string, entry: Entry, audited: Audited): Event {
  const { methodName, resourceName, principalEmail, resource } = audited;
  const time = new Date().toISOString();
  return {
    specversion: '1.0',
    id: randomUUID(),
    source: `//cloudaudit.googleapis.com/projects/${project}/logs/activity`,
    type: 'google.cloud.audit.log.v1.written',
    time,
    subject: `compute.googleapis.com/${resourceName}`,
    datacontenttype: 'application/json; charset=utf-8',
    data: {
      protoPayload: {
        '@type': 'type.googleapis.com/google.cloud.audit.AuditLog',
        serviceName: 'compute.googleapis.com',
        methodName,
        resourceName,
        authenticationInfo: { principalEmail },
      },
      insertId: randomUUID(),
      resource,
      timestamp: time,
      operation: {
        // The first and last entries of an operation have the same operation ID.
        id: `operation-${Object.values(resource.labels).at(-1)}`,
        producer: 'compute.googleapis.com',
        ...(entry === 'first' ? { first: true } : { last: true }),
      },
    },
  };
}
