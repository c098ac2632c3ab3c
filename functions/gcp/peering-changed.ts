import type { CloudEvent } from '@google-cloud/functions-framework';
import { setTimeout as sleep } from 'node:timers/promises';
import { PermanentError, RetryableError } from '../../shared/core/model/errors';
import { isProvisioning } from '../../shared/core/reconcile/outcome';
import type { Deadline } from '../../shared/core/cloud';
import { parseEvent } from '../../shared/gcp/events/parse-event';
import { reconcileEach } from '../runtime/reconcile-each';
import { acknowledgePermanent, invocationDeadline, withCallCounts } from './runtime/invocation';
import { dependencies, eachProject, settings } from './runtime/projects';

/**
 * How long the routes of a peering may still be missing after an operation on the peering is done. Networks exchange
 * routes in the background.
 */
const propagationMs = 10_000;

/** If a peering is still provisioning after this time, the next sweep handles it. */
const giveUpAfterMs = 10 * 60_000;

/** When this process last started to reconcile all nodes. */
const lastReconcile = { startedAt: 0 };

/**
 * Reconciles all nodes after a network's peerings, routes or ranges changed. One reconciliation handles a burst of
 * changes, such as a Terraform apply: invocations run one at a time, and the last one covers all changes made before
 * it started.
 */
export const peeringChanged = withCallCounts(async (cloudEvent: CloudEvent<unknown>): Promise<void> => {
  const { log } = dependencies;
  const event = parseEvent(cloudEvent, settings.projects);
  const { id: eventId } = cloudEvent;
  const ignore = (reason: string) => {
    log.info('EventIgnored', { cloud: 'gcp', eventId, reason });
  };
  if (event.kind === 'ignored') {
    ignore(event.reason);
    return;
  }
  if (event.kind !== 'routes-changed') {
    ignore(`another function handles ${event.kind}`);
    return;
  }
  const { project, change, at } = event;
  log.info('PeeringChanged', { cloud: 'gcp', eventId, project, change });
  const propagatedAt = at.getTime() + propagationMs;
  if (propagatedAt <= lastReconcile.startedAt) {
    ignore('a later reconciliation covers this change');
    return;
  }
  const deadline = invocationDeadline();
  await sleep(Math.min(propagationMs, Math.max(0, propagatedAt - Date.now())));
  const isOpen = await acknowledgePermanent(() => reconcileAll(deadline));
  if (isOpen && Date.now() - at.getTime() < giveUpAfterMs) throw stillProvisioning();
});

/**
 * Reconciles all nodes of all projects. The event is redelivered only while a route is still provisioning; if
 * individual nodes failed, the next sweep handles them. An error in one project does not affect the others.
 * @returns whether a route is still provisioning
 */
async function reconcileAll(deadline: Deadline): Promise<boolean> {
  const startedAt = Date.now();
  const clusters = dependencies.config.clusters.map(({ name }) => name);
  const options = { deadline, skipNewNodes: true };
  const { results, errors } = await reconcileEach(eachProject, { clusters }, options);
  // If any error is retryable, that error is thrown, so that the event is redelivered.
  const error = errors.find((each) => !(each instanceof PermanentError)) ?? errors[0];
  if (error !== undefined) throw error as Error;
  const isOpen = results.some(({ outcomes }) => outcomes.some(isProvisioning));
  if (!isOpen) lastReconcile.startedAt = startedAt;
  return isOpen;
}

const stillProvisioning = () =>
  new RetryableError('provisioning', 'A route is still provisioning', {
    advice: 'The event is redelivered. The route is used once it is active.',
    retryAfterSeconds: 10,
  });
