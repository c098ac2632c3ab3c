import type { CloudEvent } from '@google-cloud/functions-framework';
import { setTimeout as pause } from 'node:timers/promises';
import { PermanentError, RetryableError } from '../../shared/core/model/errors';
import { isProvisioning } from '../../shared/core/reconcile/outcome';
import type { Deadline } from '../../shared/core/cloud';
import { parseEvent } from '../../shared/gcp/events/parse-event';
import { reconcileEach } from '../runtime/reconcile-each';
import { deadline, dependencies, eachProject, projects } from './runtime/dependencies';
import { withCallCounts, acknowledgePermanent } from './runtime/invocation';

/** Between the end of an operation and the last route that it brings; networks exchange routes by themselves. */
const routeSettleMs = 10_000;

/** A peering that is still being set up after this is the next sweep's. */
const giveUpAfterMs = 10 * 60_000;

/** When the last pass of this process began. */
const lastReconcile = { startedAt: 0 };

/**
 * Peerings, routes or ranges of a network changed: all nodes are planned anew, and those whose rule set is another
 * one now get it, by the same hold rule as ever. A burst of changes, as Terraform makes them, is one look: one
 * invocation runs at a time, and what happened before the last pass began has been seen by it.
 */
export const peeringChanged = withCallCounts(async (cloudEvent: CloudEvent<unknown>): Promise<void> => {
  const { log } = dependencies;
  const event = parseEvent(cloudEvent, projects);
  if (event.kind !== 'routes-changed') {
    const reason = event.kind === 'ignored' ? event.reason : `${event.kind} is another function's`;
    log.info('EventIgnored', { cloud: 'gcp', eventId: cloudEvent.id, reason });
    return;
  }
  const { project, change, at } = event;
  log.info('PeeringChanged', { cloud: 'gcp', eventId: cloudEvent.id, project, change });
  const settledAt = at.getTime() + routeSettleMs;
  if (settledAt <= lastReconcile.startedAt) {
    log.info('EventIgnored', { cloud: 'gcp', eventId: cloudEvent.id, reason: 'a pass after it has seen it' });
    return;
  }
  const end = deadline();
  await pause(Math.min(routeSettleMs, Math.max(0, settledAt - Date.now())));
  const isOpen = await acknowledgePermanent(() => reconcileAll(end));
  if (isOpen && Date.now() - at.getTime() < giveUpAfterMs) throw stillProvisioning();
});

/**
 * Nodes that could not be served are the next sweep's; only what the change itself leaves open comes again. A project
 * that cannot be looked at keeps none of the others from it.
 * @returns whether a route is still being set up
 */
async function reconcileAll(end: Deadline): Promise<boolean> {
  const startedAt = Date.now();
  const clusters = dependencies.config.clusters.map(({ name }) => name);
  const options = { deadline: end, skipNewNodes: true };
  const { results, errors } = await reconcileEach(eachProject, { clusters }, options);
  // What is worth another delivery comes before what is not.
  const [error] = errors.toSorted((a, b) => Number(isPermanent(a)) - Number(isPermanent(b)));
  if (error !== undefined) throw error as Error;
  const isOpen = results.some(({ outcomes }) => outcomes.some(isProvisioning));
  if (!isOpen) lastReconcile.startedAt = startedAt;
  return isOpen;
}

const isPermanent = (error: unknown): boolean => error instanceof PermanentError;

const stillProvisioning = () =>
  new RetryableError(
    'provisioning',
    'A route is still being set up',
    'The event is delivered again; the route counts when it is active.',
    10,
  );
