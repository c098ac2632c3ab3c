import type { Dependencies } from '../../shared/core/reconcile';
import { clientsOfProcess } from '../../shared/gcp/clients';
import { makeGcpCloud } from '../../shared/gcp/cloud';
import { makeGcpInspection } from '../../shared/gcp/inspection';
import { makeGcpReach } from '../../shared/gcp/reach';
import { loadProgram } from '../settings';
import type { Target, TargetOptions } from './targets';

/** One target for each project. */
export function openGcp({ project }: TargetOptions, common: Omit<Dependencies, 'cloud'>): Target[] {
  const [program, clients] = [loadProgram(), clientsOfProcess()];
  const named = project ?? (process.env['PEERMASQ_PROJECTS'] ?? '').split(',').filter(Boolean);
  const places = named.length > 0 ? [...new Set(named)].map((one) => [one]) : [[]];
  return places.map((projects) => ({
    ...common,
    name: `gcp ${projects[0] ?? 'of the credentials'}`,
    cloud: makeGcpCloud({ projects, program }),
    inspection: makeGcpInspection(clients, common.log),
    reach: makeGcpReach(clients),
  }));
}
