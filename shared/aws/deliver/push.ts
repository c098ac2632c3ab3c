import { SendCommandCommand } from '@aws-sdk/client-ssm';
import { PeermasqError, PermanentError } from '../../core/model/errors';
import type { Deadline, PushRequest, PushResult } from '../../core/cloud';
import { packRuleSet, ruleSetId, type RuleSet } from '../../core/model/rule-set';
import { call } from '../client/call';
import { idsMentionedIn } from '../client/errors';
import { chunks } from '../../core/util/collections';
import type { Clients } from '../client/clients';
import { isCredentialsError } from '../client/account-errors';
import { printComment } from './command-comment';
import { packedLimit, ruleSetParameter } from '../names';
import type { AwsNode } from '../discover/nodes';
import type { ReadOnlineAgents } from './online-agents';
import { isPushInProgress, markPushed, writeRecords, recordedRoutes } from './status';

/** Instances in one SendCommand (SSM API reference). */
const commandLimit = 50;

export async function push(
  clients: Clients,
  readOnlineAgents: ReadOnlineAgents,
  document: string,
  { ruleSet, routes }: PushRequest,
  nodes: readonly AwsNode[],
  deadline: Deadline,
): Promise<PushResult<AwsNode>[]> {
  const packed = packRuleSet(ruleSet);
  if (packed.length > packedLimit) {
    return nodes.map((node) => ({ result: 'failed', node, error: tooLarge(packed) }));
  }
  const id = ruleSetId(ruleSet);
  const inProgress = nodes.filter(({ status }) => isPushInProgress(status, id));
  const requested = nodes.filter(({ status }) => !isPushInProgress(status, id));
  const online = await readOnlineAgents(
    requested.map(({ ref }) => ref.id),
    deadline,
  );
  const isOnline = ({ ref }: AwsNode) => online.has(ref.id);
  const ready = requested.filter(isOnline);
  const { marked, unmarked } = await mark(clients, ready, id, deadline);
  const pushes: PushResult<AwsNode>[] = [
    ...inProgress.map((node) => notReady(node, 'this rule set was pushed to it a moment ago', 10)),
    ...requested
      .filter((node) => !isOnline(node))
      .map((node) => notReady(node, 'its SSM agent is not online')),
    ...unmarked.map(({ node, error }): PushResult<AwsNode> => ({ result: 'failed', node, error })),
  ];
  const sent: PushResult<AwsNode>[] = [];
  try {
    for (const some of chunks(marked, commandLimit)) {
      sent.push(...(await send(clients, { document, ruleSet, packed, routes }, some, deadline)));
    }
  } finally {
    await unmark(clients, marked, sent, deadline);
  }
  return [...pushes, ...sent];
}

/** Those that cannot be marked and whose tags would go on saying what they proved before are not pushed to. */
async function mark(clients: Clients, nodes: readonly AwsNode[], ruleSetId: string, deadline: Deadline) {
  const failed = await markPushed(clients, nodes, ruleSetId, deadline);
  const unmarked = failed.filter(({ node }) => node.recorded?.isProven === true);
  const left = new Set(unmarked.map(({ node }) => node));
  return { marked: nodes.filter((node) => !left.has(node)), unmarked };
}

/** What was not sent after all is not under way. */
async function unmark(
  clients: Clients,
  marked: readonly AwsNode[],
  sent: readonly PushResult<AwsNode>[],
  deadline: Deadline,
): Promise<void> {
  const pushed = new Set(sent.filter(({ result }) => result === 'pushed').map(({ node }) => node));
  const records = marked
    .filter((node) => !pushed.has(node))
    .map((node) => ({ node, state: 'failed' as const, ...recordedRoutes(node) }));
  // Should it fail, they are pushed to a little later.
  if (records.length > 0) await writeRecords(clients, records, deadline);
}

function tooLarge(packed: string): PermanentError {
  return new PermanentError(
    'rule-set-too-large',
    `The rule set has ${packed.length} characters when packed; a command carries ${packedLimit}`,
    'Name fewer or wider ranges in the configuration of the cluster.',
  );
}

/** Agents register some 10 to 60 s after their instance started. */
function notReady(node: AwsNode, reason: string, retryAfterSeconds = 5): PushResult<AwsNode> {
  return { result: 'not-ready', node, reason, retryAfterSeconds };
}

/** Nodes that wait for the next look together with one that SSM refuses without a name: at most 15 calls for 50. */
const minBisectSize = 7;

interface PushBatch {
  readonly document: string;
  readonly ruleSet: RuleSet;
  readonly packed: string;
  readonly routes: number;
}

/**
 * One command for up to 50 nodes. SSM refuses all of them for one that it cannot serve; those that its
 * answer names are given up and the rest is sent again.
 */
async function send(
  clients: Clients,
  batch: PushBatch,
  nodes: readonly AwsNode[],
  deadline: Deadline,
): Promise<PushResult<AwsNode>[]> {
  if (nodes.length === 0) return [];
  const ids = nodes.map(({ ref }) => ref.id);
  try {
    const id = await sendCommand(clients, batch, ids, deadline);
    return nodes.map((node) => ({ result: 'pushed', node, ruleSet: batch.ruleSet, id }));
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    const named = new Set(idsMentionedIn(error, ids));
    // A denial that names no instance is about the document: no node can be served.
    if (isCredentialsError(error) || (error.code === 'access-denied' && named.size === 0)) throw error;
    // SSM does not always say which: then most of the others are found by halves.
    if (error.code === 'InvalidInstanceId' && named.size === 0 && nodes.length > minBisectSize) {
      const halves = chunks(nodes, Math.ceil(nodes.length / 2));
      return (await Promise.all(halves.map((half) => send(clients, batch, half, deadline)))).flat();
    }
    const isRejected = ({ ref }: AwsNode) => named.size === 0 || named.has(ref.id);
    const rest = nodes.filter((node) => !isRejected(node));
    return [
      ...nodes.filter(isRejected).map((node) => rejected(node, error)),
      ...(await send(clients, batch, rest, deadline)),
    ];
  }
}

function rejected(node: AwsNode, error: PeermasqError): PushResult<AwsNode> {
  return error.code === 'InvalidInstanceId'
    ? notReady(node, 'SSM does not know it as an instance that can take a command')
    : { result: 'failed', node, error };
}

/** @returns the id of the command */
async function sendCommand(
  { ssm, waitToSend }: Clients,
  { document, ruleSet, packed, routes }: PushBatch,
  InstanceIds: string[],
  deadline: Deadline,
): Promise<string> {
  await waitToSend(deadline);
  const { Command } = await call('ssm:SendCommand', deadline, (options) =>
    ssm.send(
      new SendCommandCommand({
        DocumentName: document,
        InstanceIds,
        Parameters: { [ruleSetParameter]: [packed] },
        Comment: printComment({ ruleSetId: ruleSetId(ruleSet), generation: ruleSet.generation, routes }),
        // Within which a node has to start it. Should it come late, a newer rule set has a newer generation.
        TimeoutSeconds: 120,
        MaxConcurrency: '100%',
        // The default, 0, gives up all nodes that are left at the first failure.
        MaxErrors: '100%',
      }),
      options,
    ),
  );
  return Command?.CommandId ?? '';
}
