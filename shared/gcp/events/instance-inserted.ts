import * as z from 'zod';
import { describeIssues, projectSchema, type AuditLogEntry } from './audit-log';
import { ignored, quoted, type Ignored, type NodesJoined } from './event';

/** The API methods that create instances. */
export const instanceInsertMethods = [
  'instances.insert',
  'instances.bulkInsert',
  'regionInstances.bulkInsert',
];

/**
 * The patterns of `zone` and of a numeric `instance` in the discovery document of Compute Engine. Not every zone ends
 * in one letter.
 */
const labelsSchema = z.object({
  project_id: projectSchema,
  zone: z.string().regex(/^[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?$/),
  instance_id: z.string().regex(/^[1-9][0-9]{0,19}$/),
});

/** An operation logs two entries. Both are handled: that is idempotent, and either may be lost. */
export function parseInstanceInserted(entry: AuditLogEntry): NodesJoined | Ignored {
  const { method, resourceName, at } = entry;
  if (method.endsWith('bulkInsert') && entry.labels['instance_id'] === undefined) {
    return ignored('bulkInsert does not name the instances it creates: the sweep finds them');
  }
  const labels = labelsSchema.safeParse(entry.labels);
  if (!labels.success) return ignored(`does not identify an instance: ${describeIssues(labels.error)}`);
  const { project_id: project, zone, instance_id: id } = labels.data;
  if (resourceName?.includes('/instances/') && !resourceName.includes(`/zones/${zone}/`)) {
    return ignored(`its zone ${quoted(zone)} is not the zone of ${quoted(resourceName)}`);
  }
  return { kind: 'nodes-joined', trigger: method, nodes: [{ cloud: 'gcp', project, zone, id }], at };
}
