import { setImmediate } from 'node:timers/promises';
import { DescribeInstanceInformationCommand } from '@aws-sdk/client-ssm';
import { PeermasqError, PermanentError } from '../../core/model/errors';
import type { Deadline, PushRequest, PushResult } from '../../core/cloud';
import { packRuleSet, ruleSetId } from '../../core/model/rule-set';
import { chunks } from '../../core/util/collections';
import { isCredentialsError } from '../client/account-errors';
import type { Access, Clients } from '../client/clients';
import { idsMentionedIn } from '../client/errors';
import { listAll } from '../client/pages';
import type { AwsNode } from '../discover/nodes';
import { isPushInProgress } from '../discover/recorded-status';
import { packedLimit } from '../names';
import { sendRuleSet, type RuleSetCommand } from './command';
import { markPushed, recordedRoutes, writeRecords } from './status';

export interface PushAccess extends Access {
  readonly readOnlineAgents: ReadOnlineAgents;
  /** The name of the SSM document. */
  readonly document: string;
}

/** The maximum number of instances in one SendCommand (SSM API reference). */
const commandLimit = 50;

export async function pushToNodes(
  access: PushAccess,
  { ruleSet, routes }: PushRequest,
  nodes: readonly AwsNode[],
): Promise<PushResult<AwsNode>[]> {
  const { readOnlineAgents, document, deadline } = access;
  const packed = packRuleSet(ruleSet);
  if (packed.length > packedLimit) {
    return nodes.map((node) => ({ result: 'failed', node, error: tooLarge(packed) }));
  }
  const id = ruleSetId(ruleSet);
  const inProgress = nodes.filter(({ status }) => isPushInProgress(status, id));
  const requested = nodes.filter(({ status }) => !isPushInProgress(status, id));
  const requestedIds = requested.map(({ ref }) => ref.id);
  const online = await readOnlineAgents(requestedIds, deadline);
  const isOnline = ({ ref }: AwsNode) => online.has(ref.id);
  const { marked, unmarked } = await mark(access, requested.filter(isOnline), id);
  const notSent: PushResult<AwsNode>[] = [
    ...inProgress.map((node) => notReady(node, 'the same rule set has just been pushed', 10)),
    ...requested
      .filter((node) => !isOnline(node))
      .map((node) => notReady(node, 'its SSM agent is not online')),
    ...unmarked.map(({ node, error }): PushResult<AwsNode> => ({ result: 'failed', node, error })),
  ];
  const sent: PushResult<AwsNode>[] = [];
  try {
    for (const some of chunks(marked, commandLimit)) {
      sent.push(...(await send(access, { document, ruleSet, packed, routes }, some)));
    }
  } finally {
    await unmark(access, marked, sent);
  }
  return [...notSent, ...sent];
}

/**
 * Marks nodes as having a push in progress. A proven node that cannot be marked gets no push, because its tags would
 * still say that it is proven.
 */
async function mark(access: Access, nodes: readonly AwsNode[], ruleSetId: string) {
  const failed = await markPushed(access, nodes, ruleSetId);
  const unmarked = failed.filter(({ node }) => node.recorded?.isProven === true);
  const excluded = new Set(unmarked.map(({ node }) => node));
  return { marked: nodes.filter((node) => !excluded.has(node)), unmarked };
}

/**
 * Removes the mark from nodes that received no push. If the mark cannot be removed, the next push to the node is
 * delayed.
 */
async function unmark(
  access: Access,
  marked: readonly AwsNode[],
  sent: readonly PushResult<AwsNode>[],
): Promise<void> {
  const pushed = new Set(sent.filter(({ result }) => result === 'pushed').map(({ node }) => node));
  const records = marked
    .filter((node) => !pushed.has(node))
    .map((node) => ({ node, state: 'failed' as const, ...recordedRoutes(node) }));
  if (records.length > 0) await writeRecords(access, records);
}

function tooLarge({ length }: string): PermanentError {
  return new PermanentError(
    'rule-set-too-large',
    `The packed rule set has ${length} characters; the limit for an SSM command is ${packedLimit}`,
    { advice: 'Configure fewer or wider ranges for the cluster.' },
  );
}

/** The default delay is chosen for SSM agents, which register 10 to 60 s after the instance has started. */
function notReady(node: AwsNode, reason: string, retryAfterSeconds = 5): PushResult<AwsNode> {
  return { result: 'not-ready', node, reason, retryAfterSeconds };
}

/**
 * Rejected groups of this size or smaller are not divided further but retried as a whole, which limits the calls for 50
 * nodes to 15.
 */
const minBisectSize = 7;

/**
 * Sends one command to up to 50 nodes. A single invalid node makes SSM reject the whole command. If the error names
 * nodes, the command is repeated without them; otherwise the invalid nodes are found by bisection.
 */
async function send(
  access: Access,
  command: RuleSetCommand,
  nodes: readonly AwsNode[],
): Promise<PushResult<AwsNode>[]> {
  if (nodes.length === 0) return [];
  const ids = nodes.map(({ ref }) => ref.id);
  try {
    const id = await sendRuleSet(access, command, ids);
    return nodes.map((node) => ({ result: 'pushed', node, ruleSet: command.ruleSet, id }));
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    const named = new Set(idsMentionedIn(error, ids));
    // A denial that names no instance is about the document, so it affects all nodes.
    if (isCredentialsError(error) || (error.code === 'access-denied' && named.size === 0)) throw error;
    if (error.code === 'InvalidInstanceId' && named.size === 0 && nodes.length > minBisectSize) {
      const halves = chunks(nodes, Math.ceil(nodes.length / 2));
      return (await Promise.all(halves.map((half) => send(access, command, half)))).flat();
    }
    const isRejected = ({ ref }: AwsNode) => named.size === 0 || named.has(ref.id);
    const rest = nodes.filter((node) => !isRejected(node));
    return [
      ...nodes.filter(isRejected).map((node) => rejected(node, error)),
      ...(await send(access, command, rest)),
    ];
  }
}

function rejected(node: AwsNode, error: PeermasqError): PushResult<AwsNode> {
  return error.code === 'InvalidInstanceId'
    ? notReady(node, 'SSM does not accept commands for it yet')
    : { result: 'failed', node, error };
}

/**
 * The maximum number of instances in one page of DescribeInstanceInformation, and of values in one filter (SSM API
 * reference).
 */
const pageLimit = 50;
const filterLimit = 100;

/** Returns the instances whose SSM agent is online. */
type ReadOnlineAgents = (ids: readonly string[], deadline: Deadline) => Promise<ReadonlySet<string>>;

/** Concurrent requests share one listing, for example if several rule sets are pushed at the same time. */
export function makeReadOnlineAgents(clients: Clients): ReadOnlineAgents {
  let next: { readonly ids: Set<string>; readonly result: Promise<ReadonlySet<string>> } | undefined;
  return (requested, deadline) => {
    if (!next) {
      const ids = new Set<string>();
      const result = setImmediate().then(() => {
        next = undefined;
        return readOnlineAgents(clients, [...ids], deadline);
      });
      next = { ids, result };
    }
    for (const id of requested) next.ids.add(id);
    return next.result;
  };
}

async function readOnlineAgents(
  { ssm }: Clients,
  ids: readonly string[],
  deadline: Deadline,
): Promise<Set<string>> {
  const online = new Set<string>();
  for (const Values of chunks(ids, filterLimit)) {
    const Filters = [
      { Key: 'InstanceIds', Values },
      { Key: 'PingStatus', Values: ['Online'] },
    ];
    const pages = await listAll('ssm:DescribeInstanceInformation', deadline, (page, options) =>
      ssm.send(new DescribeInstanceInformationCommand({ Filters, MaxResults: pageLimit, ...page }), options),
    );
    for (const { InstanceId } of pages.flatMap((page) => page.InstanceInformationList ?? [])) {
      if (InstanceId !== undefined) online.add(InstanceId);
    }
  }
  return online;
}
