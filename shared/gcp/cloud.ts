import type { Channel, Cloud } from '../core/cloud';
import { getClients, type Clients } from './client/clients';
import { isCurrentVersion } from './deliver/metadata';
import { awaitProofs } from './deliver/proofs';
import { pushToNodes } from './deliver/push';
import { restartNode } from './deliver/restart';
import { writeRecords } from './deliver/status';
import { type GcpNode, makeNodes } from './discover/nodes';
import { makeRoutes } from './discover/routes';

export interface CloudOptions {
  /** The projects to list nodes in. Empty: the project of the credentials. A node reference includes its project. */
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

/**
 * Rule sets are delivered in instance metadata: a running node watches it, and a starting node reads it. Reports are
 * returned in guest attributes.
 * @param program the text of the node program, which a node reads from its metadata
 */
function makeChannel(clients: Clients, program: string): Channel<GcpNode> {
  return {
    // A node that is starting reads its rule set when it has booted.
    checkReadiness: () => undefined,
    push: (request, nodes, deadline) => pushToNodes(clients, { request, program, nodes }, deadline),
    collectProofs: (pushed, deadline) => awaitProofs(clients, pushed, deadline),
    /** One write per node and reconciliation: the next sweep reads and records the proof of this push. */
    writeRecords(records, deadline) {
      const notWritten = records.filter(({ node, state }) => state === 'needs-reboot' || !node.written);
      return writeRecords(clients, notWritten, deadline);
    },
    restart: (node, deadline) => restartNode(clients, node, deadline),
  };
}
