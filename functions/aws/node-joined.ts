import type { Context, SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { parseAwsEvent, type Home } from '../../shared/aws/events';
import { ignored, type NodeEvent } from '../../shared/core/events';
import { nodeKey, type NodeRef } from '../../shared/core/node';
import { retryAfterSeconds } from '../../shared/core/outcome';
import { reconcile } from '../../shared/core/reconcile';
import { deadlineOf } from './deadline';
import { dependencies } from './dependencies';
import { homeOf } from './home';

/**
 * Nodes that joined, from EventBridge through SQS: RunInstances and instances that reached `running`. The
 * batch is one set of nodes. A record leaves the queue when each of its nodes is dealt with; the others are
 * named to SQS, which delivers them again.
 */
export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  const home = homeOf(context);
  const records = event.Records.map((record) => ({ id: record.messageId, event: read(record, home) }));
  const nodes = records.flatMap(({ event: joined }) => nodesOf(joined));
  if (nodes.length === 0) return { batchItemFailures: [] };

  // What it throws concerns every node; SQS then delivers the whole batch again.
  const outcomes = await reconcile(nodes, dependencies, { deadline: deadlineOf(context) });
  const again = new Set(
    outcomes.filter((outcome) => retryAfterSeconds(outcome) !== undefined).map(({ node }) => nodeKey(node)),
  );
  return {
    batchItemFailures: records
      .filter(({ event: joined }) => nodesOf(joined).some((ref) => again.has(nodeKey(ref))))
      .map(({ id }) => ({ itemIdentifier: id })),
  };
}

const nodesOf = (event: NodeEvent): readonly NodeRef[] => (event.kind === 'nodes-joined' ? event.nodes : []);

function read({ body, messageId }: SQSRecord, home: Home): NodeEvent {
  const event = parseBody(body, home);
  if (event.kind === 'ignored') {
    dependencies.log.info('EventIgnored', { cloud: 'aws', messageId, reason: event.reason });
  } else {
    dependencies.log.info('NodeJoined', { cloud: 'aws', messageId, nodes: event.nodes.map(({ id }) => id) });
  }
  return event;
}

function parseBody(body: string, home: Home): NodeEvent {
  let event: unknown;
  try {
    event = JSON.parse(body);
  } catch {
    return ignored('The message body is not JSON.');
  }
  return parseAwsEvent(event, home);
}
