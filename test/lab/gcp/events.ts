import { randomUUID } from 'node:crypto';
import type { Vm } from './state';

/**
 * What Eventarc delivers when a VM is inserted: one entry at the begin of the operation and one at its end.
 * Shape: googleapis/google-cloudevents, proto/google/events/cloud/audit/v1/data.proto; like test/events/gcp.
 */
export function insertEvent(vm: Vm, entry: 'first' | 'last'): Record<string, unknown> {
  const resourceName = `projects/${vm.project}/zones/${vm.zone}/instances/${vm.name}`;
  const time = new Date().toISOString();
  return {
    specversion: '1.0',
    id: randomUUID(),
    source: `//cloudaudit.googleapis.com/projects/${vm.project}/logs/activity`,
    type: 'google.cloud.audit.log.v1.written',
    time,
    subject: `compute.googleapis.com/${resourceName}`,
    datacontenttype: 'application/json; charset=utf-8',
    data: {
      protoPayload: {
        '@type': 'type.googleapis.com/google.cloud.audit.AuditLog',
        serviceName: 'compute.googleapis.com',
        methodName: 'v1.compute.instances.insert',
        resourceName,
        authenticationInfo: { principalEmail: '415104041262@cloudservices.gserviceaccount.com' },
      },
      insertId: randomUUID(),
      resource: {
        type: 'gce_instance',
        labels: { project_id: vm.project, zone: vm.zone, instance_id: vm.id },
      },
      timestamp: time,
      operation: {
        id: `operation-${vm.id}`,
        producer: 'compute.googleapis.com',
        ...(entry === 'first' ? { first: true } : { last: true }),
      },
    },
  };
}
