import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import type { GcpNodeRef } from '../../core/model/node';
import { PermanentError, RetryableError, type PeermasqError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { call } from './call';
import type { Clients } from './clients';

const operationSchema = z.object({
  name: z.string(),
  status: z.string(),
  error: z.object({ errors: z.array(z.object({ code: z.string(), message: z.string() })) }).nullish(),
});

/** The operation that starts when an instance is changed. */
export type Operation = z.infer<typeof operationSchema>;

/** @param response the response to a call that starts an operation */
export const operationIn = (response: unknown): Operation => operationSchema.parse(response);

/** An operation, and the instance that it changes. */
interface InstanceOperation {
  readonly ref: GcpNodeRef;
  readonly operation: Operation;
}

/**
 * The minimum time from the start of one wait call to the start of the next. Wait calls count towards the read quota.
 */
const minWaitMs = 1_000;

/** @throws PermanentError | RetryableError if the operation failed, or has not finished by the deadline */
export async function waitForOperation(
  clients: Clients,
  { ref, operation: started }: InstanceOperation,
  deadline: Deadline,
): Promise<void> {
  let operation = started;
  while (operation.status !== 'DONE') {
    if (Date.now() >= deadline) throw unfinished(operation);
    const waitStartedAt = Date.now();
    operation = await wait(clients, { ref, operation }, deadline);
    // The API may respond before the operation is done, either after two minutes or, if the API is overloaded,
    // immediately.
    const pauseMs = Math.min(waitStartedAt + minWaitMs, deadline) - Date.now();
    if (operation.status !== 'DONE' && pauseMs > 0) await sleep(pauseMs);
  }
  const operationError = operationErrorOf(operation);
  if (operationError) throw operationError;
}

async function wait(
  clients: Clients,
  { ref: { project, zone }, operation }: InstanceOperation,
  deadline: Deadline,
): Promise<Operation> {
  const request = { project, zone, operation: operation.name };
  try {
    return await call(`wait for operation ${operation.name}`, deadline, async (options) => {
      const client = await clients.zoneOperations();
      return operationIn((await client.wait(request, options))[0]);
    });
  } catch (thrown) {
    // The call failed, but the operation itself continues.
    throw thrown instanceof RetryableError ? unfinished(operation, thrown) : thrown;
  }
}

/** @returns why the operation failed; undefined if it succeeded or is still running */
export async function readOperationError(
  clients: Clients,
  { ref: { project, zone }, operation: { name: operation } }: InstanceOperation,
  deadline: Deadline,
): Promise<PeermasqError | undefined> {
  const current = await call(`read operation ${operation}`, deadline, async (options) => {
    const client = await clients.zoneOperations();
    return operationIn((await client.get({ project, zone, operation }, options))[0]);
  });
  return operationErrorOf(current);
}

const unfinished = ({ name }: Operation, cause?: unknown) =>
  new RetryableError('operation-unfinished', `Operation ${name} has not finished in the remaining time`, {
    advice: 'The operation continues in the background. The next reconciliation reads its result.',
    retryAfterSeconds: 30,
    cause,
  });

const transientCodes = /RATE|QUOTA|NOT_READY|IN_USE|INTERNAL|UNAVAILABLE|CONDITION_NOT_MET/;

function operationErrorOf({ error }: Operation): PeermasqError | undefined {
  const [first] = error?.errors ?? [];
  if (!first) return undefined;
  const text = `The operation failed: ${first.code}: ${first.message}`;
  return transientCodes.test(first.code)
    ? new RetryableError('operation-failed', text, {
        advice: 'The functions retry automatically.',
        retryAfterSeconds: 10,
      })
    : new PermanentError('operation-failed', text, {
        advice: 'Fix the problem that the message describes. A retry cannot help.',
      });
}
