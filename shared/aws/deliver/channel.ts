import type { Channel } from '../../core/cloud';
import type { Clients } from '../client/clients';
import type { AwsNode } from '../discover/nodes';
import { documentName } from '../names';
import { makeReadOnlineAgents } from './online-agents';
import { awaitProofs } from './proofs';
import { pushToNodes } from './push';
import { writeRecords } from './status';

export interface ChannelOptions {
  readonly stage: string;
  /** The pause before results are polled first; later pauses are longer. */
  readonly firstPollMs?: number;
}

/** Pushes rule sets with SSM Run Command, and records how pushes ended in tags. */
export function makeChannel(
  clients: Clients,
  { stage, firstPollMs = 1_500 }: ChannelOptions,
): Channel<AwsNode> {
  const document = documentName(stage);
  const readOnlineAgents = makeReadOnlineAgents(clients);
  return {
    // The SSM agent starts after the instance is running, which sends an event of its own.
    checkReadiness: ({ state }) =>
      state === 'starting' ? { reason: 'the instance is starting', retryAfterSeconds: 5 } : undefined,
    push: (request, nodes, deadline) =>
      pushToNodes({ clients, readOnlineAgents, document, deadline }, request, nodes),
    collectProofs: (pushed, deadline) =>
      awaitProofs({ clients, deadline }, pushed, { document, firstPollMs }),
    writeRecords: (records, deadline) => writeRecords({ clients, deadline }, records),
  };
}
