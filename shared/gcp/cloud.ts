import type { Cloud } from '../core/cloud';
import { makeChannel } from './deliver/channel';
import { getClients } from './client/clients';
import type { GcpNode } from './discover/instance';
import { makeNodes } from './discover/nodes';
import { makeRoutes } from './discover/routes';

export interface CloudOptions {
  /**
   * Where nodes are listed; none means the project of the credentials. Look-ups by reference go to the project
   * that the reference names.
   */
  readonly projects: readonly string[];
  /** The text of the node program, shared/node/src. */
  readonly program: string;
  /** Milliseconds for which passes share what they found of networks; 0 unless told. */
  readonly routesCacheMs?: number;
}

/** Google Cloud behind the ports. */
export function makeCloud({ projects, program, routesCacheMs = 0 }: CloudOptions): Cloud<GcpNode> {
  const clients = getClients();
  return {
    nodes: makeNodes(clients, projects, program),
    routes: makeRoutes(clients, routesCacheMs),
    channel: makeChannel(clients, program),
  };
}
