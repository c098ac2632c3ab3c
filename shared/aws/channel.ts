import type { Channel } from '../core/ports';
import type { Clients } from './clients';
import { documentName } from './names';
import type { AwsNode } from './nodes';
import { makeReadOnline } from './online';
import { proofs } from './proofs';
import { push } from './push';
import { remember } from './record';

export interface ChannelOptions {
  readonly stage: string;
  /** Before the first look at a command's results, and half as much again before each further one. */
  readonly firstLookMs?: number;
}

export function makeChannel(clients: Clients, { stage, firstLookMs = 1_500 }: ChannelOptions): Channel {
  const document = documentName(stage);
  const readOnline = makeReadOnline(clients);
  return {
    // Its agent comes up after it runs, which an event of its own tells.
    notYet: ({ state }) =>
      state === 'starting' ? { reason: 'it is starting', retryAfterSeconds: 5 } : undefined,
    push: (order, nodes: readonly AwsNode[], deadline) =>
      push(clients, readOnline, document, order, nodes, deadline),
    proofs: (pushed, deadline) => proofs(clients, pushed, { document, firstLookMs }, deadline),
    remember: (ends, deadline) => remember(clients, ends, deadline),
  };
}
