import * as z from 'zod';
import { describeIssues, projectSchema, type AuditLogEntry } from './audit-log';
import { ignored, type Ignored, type RoutesChanged } from './event';

/** The API methods that change the routes or the ranges of a network. */
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

const labelsSchema = z.object({ project_id: projectSchema });

/**
 * Parses the last entry of an operation, because the change is visible only when the operation is done. The network
 * may be in a different project than the nodes.
 */
export function parseRoutesChanged(entry: AuditLogEntry): RoutesChanged | Ignored {
  const { method: change, operation, at } = entry;
  if (operation?.first && !operation.last)
    return ignored(`${change} has only started; the last entry of the operation is handled`);
  const labels = labelsSchema.safeParse(entry.labels);
  if (!labels.success)
    return ignored(`the entry does not identify a project: ${describeIssues(labels.error)}`);
  return { kind: 'routes-changed', project: labels.data.project_id, change, at };
}
