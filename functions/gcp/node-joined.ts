import type { CloudEvent } from '@google-cloud/functions-framework';
import { setTimeout as pause } from 'node:timers/promises';
import { PeermasqError, RetryableError } from '../../shared/core/errors';
import { nodeKey, type NodeRef } from '../../shared/core/node';
import { logEntry, retryAfterSeconds, type Outcome } from '../../shared/core/outcome';
import type { Deadline } from '../../shared/core/ports';
import { reconcile } from '../../shared/core/reconcile';
import { parseGcpEvent } from '../../shared/gcp/events';
import { deadline, dependencies, projects } from './dependencies';
import { counted, orAcknowledge } from './invocation';

/** An instance not proven this long after its event is given up: acknowledged, with the reason in the log. */
const giveUpAfterMs = 30 * 60_000;

/**
 * A node that joined: an audit log entry of an instance insert, from Eventarc. The first of its two entries comes
 * before the VM boots, and its rules have to be there when its startup script runs. Acknowledged by returning; by
 * throwing, it is delivered again.
 */
export const nodeJoined = counted(async (cloudEvent: CloudEvent<unknown>): Promise<void> => {
  const { log } = dependencies;
  const event = parseGcpEvent(cloudEvent, projects);
  if (event.kind !== 'nodes-joined') {
    const reason = event.kind === 'ignored' ? event.reason : `${event.kind} is another function's`;
    log.info('EventIgnored', { cloud: 'gcp', eventId: cloudEvent.id, reason });
    return;
  }
  log.info('NodeJoined', { cloud: 'gcp', eventId: cloudEvent.id, nodes: event.nodes.map(({ id }) => id) });
  const outcomes = await orAcknowledge(() => serve(event.nodes, deadline()));
  const open = outcomes?.filter((outcome) => retryAfterSeconds(outcome) !== undefined) ?? [];
  if (open.length === 0) return;
  if (Date.now() - event.at.getTime() > giveUpAfterMs) giveUp(open);
  else throw lookAgain(open);
});

async function serve(nodes: readonly NodeRef[], end: Deadline): Promise<readonly Outcome[]> {
  await untilVisible(nodes, end);
  return reconcile(nodes, dependencies, { deadline: end });
}

/** The entry that an insert has begun may be faster than the instance; Eventarc's own retry loses the race. */
const visibleAfterMs = 15_000;
const lookEveryMs = 500;

async function untilVisible(nodes: readonly NodeRef[], end: Deadline): Promise<void> {
  const until = Math.min(end, Date.now() + visibleAfterMs);
  while (!(await areVisible(nodes, end)) && Date.now() < until) await pause(lookEveryMs);
}

/** What keeps it from looking keeps the pass from it too, and that says so. */
async function areVisible(nodes: readonly NodeRef[], end: Deadline): Promise<boolean> {
  try {
    return (await dependencies.cloud.nodes.get(nodes, end)).length === nodes.length;
  } catch (error) {
    if (error instanceof PeermasqError) return true;
    throw error;
  }
}

function giveUp(outcomes: readonly Outcome[]): void {
  for (const outcome of outcomes) {
    const { fields } = logEntry(outcome, Date.now());
    dependencies.log.error('NodeGaveUp', { ...fields, retryAfterSeconds: undefined });
  }
}

function lookAgain(outcomes: readonly Outcome[]): RetryableError {
  const nodes = outcomes.map(({ node }) => nodeKey(node)).join(', ');
  const seconds = Math.min(...outcomes.map((outcome) => retryAfterSeconds(outcome) ?? Infinity));
  return new RetryableError(
    'not-proven-yet',
    `Not proven yet: ${nodes}`,
    'Eventarc delivers the event again.',
    seconds,
  );
}
