import { setTimeout as pause } from 'node:timers/promises';
import * as z from 'zod';
import type { GcpNodeRef } from '../../core/model/node';
import { PermanentError, RetryableError, type PeermasqError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { callOptions, type Clients } from './clients';
import { call } from './errors';

const operationSchema = z.object({
  name: z.string(),
  status: z.string(),
  error: z.object({ errors: z.array(z.object({ code: z.string(), message: z.string() })) }).nullish(),
});

/** What a call that changes an instance begins. */
export type Operation = z.infer<typeof operationSchema>;

/** @param answer what such a call answered with */
export const operationIn = (answer: unknown): Operation => operationSchema.parse(answer);

/** Between two calls that wait for one operation, by begin; it draws on the quota of reads. */
const minWaitMs = 1_000;

/** Waits for the end of an operation. @throws PermanentError | RetryableError when it failed, or has no time left */
export async function finish(
  clients: Clients,
  { project, zone }: GcpNodeRef,
  started: Operation,
  deadline: Deadline,
): Promise<void> {
  let operation = started;
  while (operation.status !== 'DONE') {
    if (Date.now() >= deadline) throw unfinished(operation);
    const waitStartedAt = Date.now();
    operation = await wait(clients, { project, zone }, operation, deadline);
    // It may answer before the operation is done: after two minutes, and at once where it has much to do.
    const left = Math.min(waitStartedAt + minWaitMs, deadline) - Date.now();
    if (operation.status !== 'DONE' && left > 0) await pause(left);
  }
  const operationError = operationErrorOf(operation);
  if (operationError) throw operationError;
}

async function wait(
  clients: Clients,
  { project, zone }: Pick<GcpNodeRef, 'project' | 'zone'>,
  operation: Operation,
  deadline: Deadline,
): Promise<Operation> {
  try {
    return await call(`wait for operation ${operation.name}`, deadline, async () => {
      const client = await clients.zoneOperations();
      const request = { project, zone, operation: operation.name };
      return operationIn((await client.wait(request, callOptions(deadline)))[0]);
    });
  } catch (thrown) {
    // That nobody could wait for it does not end it.
    throw thrown instanceof RetryableError ? unfinished(operation, thrown) : thrown;
  }
}

/** @returns why an operation failed; undefined also for one that goes on */
export async function readOperationError(
  clients: Clients,
  { project, zone }: GcpNodeRef,
  { name: operation }: Operation,
  deadline: Deadline,
): Promise<PeermasqError | undefined> {
  const now = await call(`look at operation ${operation}`, deadline, async () => {
    const client = await clients.zoneOperations();
    return operationIn((await client.get({ project, zone, operation }, callOptions(deadline)))[0]);
  });
  return operationErrorOf(now);
}

const unfinished = ({ name }: Operation, cause?: unknown) =>
  new RetryableError(
    'operation-unfinished',
    `Operation ${name} has not finished in the time left`,
    'It goes on without us; the next look sees how it ended.',
    30,
    cause,
  );

const transientCodes = /RATE|QUOTA|NOT_READY|IN_USE|INTERNAL|UNAVAILABLE|CONDITION_NOT_MET/;

function operationErrorOf({ error }: Operation): PeermasqError | undefined {
  const [operationError] = error?.errors ?? [];
  if (!operationError) return undefined;
  const text = `The operation failed: ${operationError.code}: ${operationError.message}`;
  return transientCodes.test(operationError.code)
    ? new RetryableError('operation-failed', text, 'It is tried again.', 10)
    : new PermanentError(
        'operation-failed',
        text,
        'Do what the message says; trying again gives the same answer.',
      );
}
