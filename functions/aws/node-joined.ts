import type { Context, SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { parseAwsEvent } from '../../shared/aws/events';
import { ignored, type NodeEvent } from '../../shared/core/events';
import { nodeKey } from '../../shared/core/node';
import { retryAfterSeconds } from '../../shared/core/outcome';
import { reconcile } from '../../shared/core/reconcile';
import { deadlineOf } from './deadline';
import { dependencies } from './dependencies';

/**
 * Nodes that joined, from EventBridge through SQS: RunInstances and instances that reached `running`. The
 * batch is one set of nodes. A record leaves the queue when each of its nodes is dealt with; the others are
 * named to SQS, which delivers them again.
 */
export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  const records = event.Records.map((record) => ({ id: record.messageId, event: read(record) }));
  const nodes = records.flatMap(({ event: { kind, ...rest } }) => ('nodes' in rest ? rest.nodes : []));
  if (nodes.length === 0) return { batchItemFailures: [] };

  // What it throws concerns every node; SQS then delivers the whole batch again.
  const outcomes = await reconcile(nodes, dependencies, { deadline: deadlineOf(context) });
  const again = new Set(
    outcomes.filter((outcome) => retryAfterSeconds(outcome) !== undefined).map(({ node }) => nodeKey(node)),
  );
  return {
    batchItemFailures: records
      .filter(
        ({ event: joined }) =>
          joined.kind === 'nodes-joined' && joined.nodes.some((ref) => again.has(nodeKey(ref))),
      )
      .map(({ id }) => ({ itemIdentifier: id })),
  };
}

function read({ body, messageId }: SQSRecord): NodeEvent {
  const event = parseBody(body);
  if (event.kind === 'ignored') {
    dependencies.log.info('EventIgnored', { cloud: 'aws', messageId, reason: event.reason });
  } else {
    dependencies.log.info('NodeJoined', { cloud: 'aws', messageId, nodes: event.nodes.map(({ id }) => id) });
  }
  return event;
}

function parseBody(body: string): NodeEvent {
  try {
    return parseAwsEvent(JSON.parse(body));
  } catch {
    return ignored('The message body is not JSON.');
  }
}
