import type { Channel, Cloud } from '../core/cloud';
import type { Clients } from './client/clients';
import { awaitProofs } from './deliver/proofs';
import { makeReadOnlineAgents, pushToNodes } from './deliver/push';
import { writeRecords } from './deliver/status';
import { makeNodes, type AwsNode } from './discover/nodes';
import { makeRoutes } from './discover/routes';
import { documentName } from './names';

export interface CloudOptions {
  readonly stage: string;
  /** The pause before results are polled for the first time. Later pauses are longer. */
  readonly firstPollMs?: number;
}

/** Returns the cloud for the region and account of the clients. */
export function makeCloud(clients: Clients, options: CloudOptions): Cloud<AwsNode> {
  return {
    nodes: makeNodes(clients),
    routes: makeRoutes(clients),
    channel: makeChannel(clients, options),
  };
}

/** Returns a channel that pushes rule sets with SSM Run Command and records the results in tags. */
function makeChannel(clients: Clients, { stage, firstPollMs = 1_500 }: CloudOptions): Channel<AwsNode> {
  const document = documentName(stage);
  const readOnlineAgents = makeReadOnlineAgents(clients);
  return {
    // The SSM agent starts only once the instance is running. A separate event is sent when the instance is running.
    checkReadiness: ({ state }) =>
      state === 'starting' ? { reason: 'the instance is starting', retryAfterSeconds: 5 } : undefined,
    push: (request, nodes, deadline) =>
      pushToNodes({ clients, readOnlineAgents, document, deadline }, request, nodes),
    collectProofs: (pushed, deadline) =>
      awaitProofs({ clients, deadline }, pushed, { document, firstPollMs }),
    writeRecords: (records, deadline) => writeRecords({ clients, deadline }, records),
  };
}
