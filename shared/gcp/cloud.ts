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
  /**
   * The projects in which nodes are listed. If empty, nodes are listed in the project of the credentials. Reads of
   * single nodes ignore this setting, because a node reference includes the project.
   */
  readonly projects: readonly string[];
  /** The text of the node program (shared/node/src). */
  readonly program: string;
  /** How long network data is cached and shared between reconciliations, in milliseconds. Defaults to 0. */
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
 * Returns a channel that delivers rule sets in instance metadata and receives reports in guest attributes. A running
 * node watches its metadata; a starting node reads its metadata once it has booted.
 * @param program the text of the node program, which nodes also read from their metadata
 */
function makeChannel(clients: Clients, program: string): Channel<GcpNode> {
  return {
    // A starting node can accept a push, because it reads its rule set from the metadata once it has booted.
    checkReadiness: () => undefined,
    push: (request, nodes, deadline) => pushToNodes(clients, { request, program, nodes }, deadline),
    collectProofs: (pushed, deadline) => awaitProofs(clients, pushed, deadline),
    /**
     * Writes records only for nodes without a metadata write in this reconciliation, so that each node's metadata or
     * labels are written only once. The next sweep reads and records the proofs of this push.
     */
    writeRecords(records, deadline) {
      const notWritten = records.filter(({ node, state }) => state === 'needs-reboot' || !node.written);
      return writeRecords(clients, notWritten, deadline);
    },
    restart: (node, deadline) => restartNode(clients, node, deadline),
  };
}
