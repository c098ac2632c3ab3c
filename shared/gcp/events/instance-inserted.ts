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
 * The labels `zone` and `instance_id`, with the patterns of the Compute Engine discovery document. Not every zone
 * name ends with a single letter.
 */
const labelsSchema = z.object({
  project_id: projectSchema,
  zone: z.string().regex(/^[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?$/),
  instance_id: z.string().regex(/^[1-9][0-9]{0,19}$/),
});

/**
 * Parses an entry about a new instance. An operation logs two entries. Both are handled, because either entry may be
 * lost and handling is idempotent.
 */
export function parseInstanceInserted(entry: AuditLogEntry): NodesJoined | Ignored {
  const { method, resourceName, at } = entry;
  if (method.endsWith('bulkInsert') && entry.labels['instance_id'] === undefined) {
    return ignored('bulkInsert does not name the instances that it creates, so the sweep finds them');
  }
  const labels = labelsSchema.safeParse(entry.labels);
  if (!labels.success)
    return ignored(`the entry does not identify an instance: ${describeIssues(labels.error)}`);
  const { project_id: project, zone, instance_id: id } = labels.data;
  if (resourceName?.includes('/instances/') && !resourceName.includes(`/zones/${zone}/`)) {
    return ignored(`its zone ${quoted(zone)} is not the zone of ${quoted(resourceName)}`);
  }
  return { kind: 'nodes-joined', trigger: method, nodes: [{ cloud: 'gcp', project, zone, id }], at };
}
