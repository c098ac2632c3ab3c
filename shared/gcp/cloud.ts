import type { Cloud } from '../core/ports';
import { gcpChannel } from './channel';
import { makeClients } from './clients';
import { gcpNodes } from './nodes';
import { gcpRoutes } from './routes';

export interface GcpSettings {
  /** Where nodes are listed; look-ups by reference go to the project that the reference names. */
  readonly projects: readonly string[];
  /** The text of the node program, shared/node/peermasq.sh. */
  readonly program: string;
}

/** Google Cloud behind the ports; make it once for each process. */
export function gcpCloud({ projects, program }: GcpSettings): Cloud {
  const clients = makeClients();
  return {
    nodes: gcpNodes(clients, projects),
    routes: gcpRoutes(clients),
    channel: gcpChannel(clients, program),
  };
}
