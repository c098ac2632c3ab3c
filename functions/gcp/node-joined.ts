import type { CloudEvent } from '@google-cloud/functions-framework';
import { setTimeout as pause } from 'node:timers/promises';
import { RetryableError } from '../../shared/core/model/errors';
import { nodeKey, type NodeRef } from '../../shared/core/model/node';
import { logEntry, retryAfterSeconds, type Outcome } from '../../shared/core/reconcile/outcome';
import type { Deadline } from '../../shared/core/cloud';
import { reconcileOrThrow } from '../../shared/core/reconcile/reconcile';
import { parseEvent } from '../../shared/gcp/events/parse-event';
import { deadline, dependencies, projects } from './runtime/dependencies';
import { withCallCounts, acknowledgePermanent } from './runtime/invocation';

/** An instance not proven this long after its event is given up: acknowledged, with the reason in the log. */
const giveUpAfterMs = 30 * 60_000;

/**
 * A node that joined: an audit log entry of an instance insert. The first of its two entries comes
 * before the VM boots, and its rules have to be there when its startup script runs. Acknowledged by returning; by
 * throwing, it is delivered again.
 */
export const nodeJoined = withCallCounts(async (cloudEvent: CloudEvent<unknown>): Promise<void> => {
  const { log } = dependencies;
  const event = parseEvent(cloudEvent, projects);
  if (event.kind !== 'nodes-joined') {
    const reason = event.kind === 'ignored' ? event.reason : `${event.kind} is another function's`;
    log.info('EventIgnored', { cloud: 'gcp', eventId: cloudEvent.id, reason });
    return;
  }
  log.info('NodeJoined', { cloud: 'gcp', eventId: cloudEvent.id, nodes: event.nodes.map(({ id }) => id) });
  const isOverdue = Date.now() - event.at.getTime() > giveUpAfterMs;
  const outcomes = await acknowledgePermanent(() => reconcileNodes(event.nodes, deadline(), isOverdue));
  const open = outcomes?.filter((outcome) => retryAfterSeconds(outcome) !== undefined) ?? [];
  if (open.length === 0) return;
  if (isOverdue) logGaveUp(open);
  else throw notProvenYet(open);
});

async function reconcileNodes(
  nodes: readonly NodeRef[],
  end: Deadline,
  isOverdue: boolean,
): Promise<readonly Outcome[]> {
  const attempt = () => reconcileOrThrow(nodes, dependencies, { deadline: end });
  try {
    const outcomes = await attempt();
    if (!outcomes.some(isAbsent)) return outcomes;
    await waitUntilVisible(nodes, end);
    return await attempt();
  } catch (error) {
    if (!isOverdue || !(error instanceof RetryableError)) throw error;
    return nodes.map((node) => ({ node, kind: 'failed', error }));
  }
}

const isAbsent = (outcome: Outcome): boolean => outcome.kind === 'pending' && outcome.isAbsent === true;

/** The entry that an insert has begun may be faster than the instance; delivery anew loses the race. */
const visibilityTimeoutMs = 15_000;
const firstPollMs = 300;

async function waitUntilVisible(nodes: readonly NodeRef[], end: Deadline): Promise<void> {
  const until = Math.min(end, Date.now() + visibilityTimeoutMs);
  const found = () => dependencies.cloud.nodes.get(nodes, end);
  for (let wait = firstPollMs; (await found()).length < nodes.length && Date.now() < until; wait *= 1.5) {
    await pause(wait);
  }
}

function logGaveUp(outcomes: readonly Outcome[]): void {
  for (const outcome of outcomes) {
    const { fields } = logEntry(outcome, Date.now());
    dependencies.log.error('NodeTimedOut', { ...fields, retryAfterSeconds: undefined });
  }
}

function notProvenYet(outcomes: readonly Outcome[]): RetryableError {
  const nodes = outcomes.map(({ node }) => nodeKey(node)).join(', ');
  const seconds = Math.min(...outcomes.map((outcome) => retryAfterSeconds(outcome) ?? Infinity));
  return new RetryableError(
    'not-proven-yet',
    `Not proven yet: ${nodes}`,
    'The event is delivered again.',
    seconds,
  );
}
