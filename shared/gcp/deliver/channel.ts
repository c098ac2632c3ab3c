import { randomUUID } from 'node:crypto';
import { RetryableError } from '../../core/model/errors';
import type { Channel, Deadline } from '../../core/cloud';
import { callOptions, type Clients } from '../client/clients';
import { call } from '../client/errors';
import { readInstance, type GcpNode } from '../discover/instance';
import { finish, operationIn } from '../client/operations';
import { awaitProofs } from './proofs';
import { pushToNodes } from './push';
import { mark, writeRecords } from './status';

/**
 * Rule sets travel as instance metadata, which a running node follows and a booting one fetches; reports come
 * back as guest attributes.
 * @param program the text of the node program, which the node fetches from its metadata
 */
export function makeChannel(clients: Clients, program: string): Channel<GcpNode> {
  return {
    // A node that starts finds its rule set when it has booted.
    checkReadiness: () => undefined,
    push: (request, nodes, deadline) => pushToNodes(clients, program, request, nodes, deadline),
    collectProofs: (pushed, deadline) => awaitProofs(clients, pushed, deadline),
    /**
     * One write to a node and pass is enough: what was pushed just now is read once more by the next sweep, and
     * remembered then.
     */
    writeRecords(records, deadline) {
      const unrecorded = records.filter(({ node, state }) => state === 'needs-reboot' || !node.written);
      return writeRecords(clients, unrecorded, deadline);
    },
    restart: (node, deadline) => restart(clients, node, deadline),
  };
}

async function restart(clients: Clients, node: GcpNode, deadline: Deadline): Promise<void> {
  const now = await readInstance(clients, node.ref, deadline);
  if (now?.status !== 'RUNNING') throw notRunning(node, now?.status?.toString());
  await mark(clients, { ...node, instance: now }, 'restarted', deadline);
  try {
    await reset(clients, node, deadline);
  } catch (error) {
    if (!isInProgress(error)) await unmark(clients, node, deadline);
    throw error;
  }
}

/** It goes on, though nobody has the time to see its end. */
const isInProgress = (error: unknown): boolean =>
  error instanceof RetryableError && error.code === 'operation-unfinished';

/** Else the node would count as restarted, and a missing permission as mended. */
async function unmark(clients: Clients, node: GcpNode, deadline: Deadline): Promise<void> {
  const instance = await readInstance(clients, node.ref, deadline);
  if (instance) await mark(clients, { ...node, instance }, 'needs-reboot', deadline);
}

async function reset(clients: Clients, node: GcpNode, deadline: Deadline): Promise<void> {
  const { ref } = node;
  const { project, zone, id: instance } = ref;
  // One id for all attempts: of those whose answer is lost, one counts.
  const request = { project, zone, instance, requestId: randomUUID() };
  const operation = await call(`restart ${node.name}`, deadline, async () => {
    const client = await clients.instances();
    const [{ latestResponse }] = await client.reset(request, callOptions(deadline));
    return operationIn(latestResponse);
  });
  await finish(clients, ref, operation, deadline);
}

const notRunning = ({ name }: GcpNode, status = 'gone') =>
  new RetryableError(
    'not-running',
    `${name} is ${status}, so it is not restarted`,
    'The next sweep looks again.',
    60,
  );
