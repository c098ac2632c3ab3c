import type { Dependencies } from '../../shared/core/reconcile/reconcile';
import { getClients } from '../../shared/gcp/client/clients';
import { makeCloud } from '../../shared/gcp/cloud';
import { makeReach } from '../../shared/gcp/reach/reach';
import { makeInspection } from '../../shared/gcp/snapshot';
import { loadProgram } from '../runtime/settings';
import type { Target, TargetOptions } from './targets';

/** Opens one target for each project. Without --project, opens one target for the credentials' project. */
export function openGcpTargets({ project }: TargetOptions, common: Omit<Dependencies, 'cloud'>): Target[] {
  const program = loadProgram();
  const clients = getClients();
  const named = project ?? (process.env['PEERMASQ_PROJECTS'] ?? '').split(',').filter(Boolean);
  const selections = named.length > 0 ? [...new Set(named)].map((one) => [one]) : [[]];
  return selections.map((projects) => ({
    ...common,
    name: `gcp ${projects[0] ?? '(default project)'}`,
    cloud: makeCloud({ projects, program }),
    inspection: makeInspection(clients, common.log),
    reach: makeReach(clients),
  }));
}
