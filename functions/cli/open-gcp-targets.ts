import type { Dependencies } from '../../shared/core/reconcile/reconcile';
import { getClients } from '../../shared/gcp/client/clients';
import { makeCloud } from '../../shared/gcp/cloud';
import { makeInspection } from '../../shared/gcp/snapshot';
import { makeReach } from '../../shared/gcp/reach/reach';
import { loadProgram } from '../runtime/settings';
import type { Target, TargetOptions } from './targets';

/** One target for each project. */
export function openGcpTargets({ project }: TargetOptions, common: Omit<Dependencies, 'cloud'>): Target[] {
  const [program, clients] = [loadProgram(), getClients()];
  const named = project ?? (process.env['PEERMASQ_PROJECTS'] ?? '').split(',').filter(Boolean);
  const places = named.length > 0 ? [...new Set(named)].map((one) => [one]) : [[]];
  return places.map((projects) => ({
    ...common,
    name: `gcp ${projects[0] ?? 'of the credentials'}`,
    cloud: makeCloud({ projects, program }),
    inspection: makeInspection(clients, common.log),
    reach: makeReach(clients),
  }));
}
