import type { Channel } from '../../core/cloud';
import type { Clients } from '../client/clients';
import type { GcpNode } from '../discover/instance';
import { awaitProofs } from './proofs';
import { pushToNodes } from './push';
import { restartNode } from './restart';
import { writeRecords } from './status';

/**
 * Rule sets travel in instance metadata: a running node follows it, and a starting one reads it. Reports come back in
 * guest attributes.
 * @param program the text of the node program, which a node reads from its metadata
 */
export function makeChannel(clients: Clients, program: string): Channel<GcpNode> {
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
