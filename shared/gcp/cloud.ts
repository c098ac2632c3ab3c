import type { Cloud } from '../core/ports';
import { makeGcpChannel } from './channel';
import { clientsOfProcess } from './clients';
import { makeGcpNodes } from './nodes';
import { makeGcpRoutes } from './routes';

export interface GcpSettings {
  /**
   * Where nodes are listed; none means the project of the credentials. Look-ups by reference go to the project
   * that the reference names.
   */
  readonly projects: readonly string[];
  /** The text of the node program, shared/node/src. */
  readonly program: string;
  /** Milliseconds for which passes share what they found of networks; 0 unless told. */
  readonly sharesRoutesMs?: number;
}

/** Google Cloud behind the ports. */
export function makeGcpCloud({ projects, program, sharesRoutesMs = 0 }: GcpSettings): Cloud {
  const clients = clientsOfProcess();
  return {
    nodes: makeGcpNodes(clients, projects, program),
    routes: makeGcpRoutes(clients, sharesRoutesMs),
    channel: makeGcpChannel(clients, program),
  };
}
