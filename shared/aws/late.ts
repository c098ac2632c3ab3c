import type { Node } from '../core/node';
import { groupBy } from '../core/group';
import type { Deadline } from '../core/ports';
import type { Returned } from '../core/settle';
import type { Clients } from './clients';
import { parseComment } from './comment';
import type { AwsNode } from './nodes';
import { readFinished, toProof } from './proofs';

/** A command that has ended on an instance, as an event tells it. */
export interface Ended {
  readonly node: AwsNode;
  readonly commandId: string;
  readonly requestedAt: Date;
}

/** Whether whoever pushed has recorded how it ended already, or a newer push made it past. */
export function isRecorded({ node: { status }, requestedAt }: Ended): boolean {
  return status !== undefined && status.word !== 'pushed' && status.at >= requestedAt;
}

/**
 * What nodes say whose commands nobody waits for any more.
 * @throws PeermasqError when a command cannot be read; none is then told
 */
export async function readLate(
  clients: Clients,
  ended: readonly Ended[],
  deadline: Deadline,
): Promise<Returned[]> {
  const returned: Returned[] = [];
  for (const [commandId, some] of groupBy(ended, (one) => one.commandId)) {
    const finished = await readFinished(clients, commandId, deadline);
    for (const { node } of some) {
      const invocation = finished.get(node.ref.id);
      if (invocation) returned.push(await read(clients, node, invocation, deadline));
    }
  }
  return returned;
}

type Invocation = Parameters<typeof toProof>[2];

async function read(
  clients: Clients,
  node: Node,
  invocation: Invocation,
  deadline: Deadline,
): Promise<Returned> {
  const proof = await toProof(clients, node, invocation, deadline);
  const { generation, routes } = parseComment(invocation.Comment ?? '') ?? {};
  const report = proof.result === 'reported' ? proof.report : undefined;
  const [cluster] = node.clusters;
  return {
    proof,
    meant: {
      id: report?.offered ?? report?.id ?? '',
      generation: generation ?? Number.POSITIVE_INFINITY,
      warnings: [],
    },
    ...(cluster !== undefined && { cluster }),
    ...(routes !== undefined && { routes }),
  };
}
