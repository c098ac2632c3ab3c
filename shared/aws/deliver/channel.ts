import type { Channel } from '../../core/cloud';
import type { Clients } from '../client/clients';
import { documentName } from '../names';
import type { AwsNode } from '../discover/nodes';
import { makeReadOnlineAgents } from './online-agents';
import { proofs } from './proofs';
import { push } from './push';
import { writeRecords } from './status';

export interface ChannelOptions {
  readonly stage: string;
  /** Before the first look at a command's results, and half as much again before each further one. */
  readonly firstPollMs?: number;
}

export function makeChannel(
  clients: Clients,
  { stage, firstPollMs = 1_500 }: ChannelOptions,
): Channel<AwsNode> {
  const document = documentName(stage);
  const readOnlineAgents = makeReadOnlineAgents(clients);
  return {
    // Its agent comes up after it runs, which an event of its own tells.
    checkReadiness: ({ state }) =>
      state === 'starting' ? { reason: 'it is starting', retryAfterSeconds: 5 } : undefined,
    push: (request, nodes, deadline) => push(clients, readOnlineAgents, document, request, nodes, deadline),
    collectProofs: (pushed, deadline) => proofs(clients, pushed, { document, firstPollMs }, deadline),
    writeRecords: (records, deadline) => writeRecords(clients, records, deadline),
  };
}
