import type { CloudEvent } from '@google-cloud/functions-framework';
import { RetryableError } from '../../shared/core/errors';
import { nodeKey } from '../../shared/core/node';
import { logEntry, retryAfterSeconds, type Outcome } from '../../shared/core/outcome';
import { reconcile } from '../../shared/core/reconcile';
import { parseGcpEvent } from '../../shared/gcp/events';
import { deadline, dependencies } from './dependencies';

/** An instance not proven this long after its event is given up: acknowledged, with the reason in the log. */
const giveUpAfterMs = 30 * 60_000;

/**
 * A node that joined: the audit log entry of an instance insert, from Eventarc. Acknowledged by returning;
 * by throwing, Eventarc delivers it again.
 */
export async function nodeJoined(cloudEvent: CloudEvent<unknown>): Promise<void> {
  const { log } = dependencies;
  const event = parseGcpEvent(cloudEvent);
  if (event.kind === 'ignored') {
    log.info('EventIgnored', { cloud: 'gcp', eventId: cloudEvent.id, reason: event.reason });
    return;
  }
  log.info('NodeJoined', { cloud: 'gcp', eventId: cloudEvent.id, nodes: event.nodes.map(({ id }) => id) });
  const outcomes = await reconcile(event.nodes, dependencies, { deadline: deadline() });
  const open = outcomes.filter((outcome) => retryAfterSeconds(outcome) !== undefined);
  if (open.length === 0) return;
  if (Date.now() - event.at.getTime() > giveUpAfterMs) giveUp(open);
  else throw lookAgain(open);
}

function giveUp(outcomes: readonly Outcome[]): void {
  for (const outcome of outcomes) {
    const { fields } = logEntry(outcome);
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
