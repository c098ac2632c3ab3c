import type { Cloud } from '../core/cloud';
import { getClients } from './client/clients';
import { makeChannel } from './deliver/channel';
import { isCurrentVersion } from './deliver/metadata';
import type { GcpNode } from './discover/instance';
import { makeNodes } from './discover/nodes';
import { makeRoutes } from './discover/routes';

export interface CloudOptions {
  /** Where nodes are listed; empty means the project of the credentials. A node reference names its own project. */
  readonly projects: readonly string[];
  /** The text of the node program, shared/node/src. */
  readonly program: string;
  /** How long reconciliations share what they read of networks; 0 by default. */
  readonly routesCacheMs?: number;
}

export function makeCloud({ projects, program, routesCacheMs = 0 }: CloudOptions): Cloud<GcpNode> {
  const clients = getClients();
  return {
    nodes: makeNodes(clients, { projects, isUpToDate: (items) => isCurrentVersion(items, program) }),
    routes: makeRoutes(clients, routesCacheMs),
    channel: makeChannel(clients, program),
  };
}
