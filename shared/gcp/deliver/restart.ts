import { randomUUID } from 'node:crypto';
import { RetryableError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { call } from '../client/call';
import type { Clients } from '../client/clients';
import { operationIn, waitForOperation } from '../client/operations';
import { readInstance, type GcpNode } from '../discover/nodes';
import type { StatusRecord } from '../discover/recorded-status';
import { writeStatus } from './status';

export async function restartNode(clients: Clients, node: GcpNode, deadline: Deadline): Promise<void> {
  const instance = await readInstance(clients, node.ref, deadline);
  if (instance?.status !== 'RUNNING') throw notRunning(node.name, instance?.status ?? undefined);
  // The label is written before the reset. From then on, the node has to send a new report, and is not restarted a
  // second time.
  await writeStatus(clients, withState({ ...node, instance }, 'restarted'), deadline);
  try {
    await reset(clients, node, deadline);
  } catch (error) {
    if (!isInProgress(error)) await markNotRestarted(clients, node, deadline);
    throw error;
  }
}

const withState = (node: GcpNode, state: StatusRecord['state']) => ({
  node,
  status: { state, at: new Date() },
});

/**
 * Records that a node could not be restarted, for example because a permission is missing. Otherwise its label would
 * still say that it was restarted.
 */
async function markNotRestarted(clients: Clients, node: GcpNode, deadline: Deadline): Promise<void> {
  const instance = await readInstance(clients, node.ref, deadline);
  if (instance) await writeStatus(clients, withState({ ...node, instance }, 'needs-reboot'), deadline);
}

/** Whether the reset is still in progress after the deadline for waiting. */
const isInProgress = (error: unknown): boolean =>
  error instanceof RetryableError && error.code === 'operation-unfinished';

async function reset(clients: Clients, { ref, name }: GcpNode, deadline: Deadline): Promise<void> {
  const { project, zone, id: instance } = ref;
  // All attempts share one request id, so that a retry after a lost response does not reset the node again.
  const request = { project, zone, instance, requestId: randomUUID() };
  const operation = await call(`restart ${name}`, deadline, async (options) => {
    const client = await clients.instances();
    const [{ latestResponse }] = await client.reset(request, options);
    return operationIn(latestResponse);
  });
  await waitForOperation(clients, { ref, operation }, deadline);
}

const notRunning = (name: string, status = 'deleted') =>
  new RetryableError('not-running', `${name} is ${status}, so it is not restarted`, {
    advice: 'The next sweep checks the node again.',
    retryAfterSeconds: 60,
  });
