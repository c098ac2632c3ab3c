import { GetCommandInvocationCommand, ListCommandsCommand, SendCommandCommand } from '@aws-sdk/client-ssm';
import { setTimeout as sleep } from 'node:timers/promises';
import { PeermasqError, PermanentError, RetryableError, withAdvice } from '../core/model/errors';
import { chunks, groupBy } from '../core/util/collections';
import {
  explainCommand,
  joinParts,
  snapshotCommand,
  parsePart,
  manualSnapshotCommand,
  type SnapshotPart,
} from '../core/model/snapshot-parts';
import { nodeKey, type Node, type NodeKey } from '../core/model/node';
import type { Deadline, Inspection } from '../core/cloud';
import { parseRuleSet, ruleSetId, type RuleSet } from '../core/model/rule-set';
import { allPages, call } from './client/call';
import type { Clients } from './client/clients';
import { documentName, snapshotDocumentName, partParameter, ruleSetParameter } from './names';
import { isFinished, undefinedIfNotReady, deliveryError } from './deliver/proofs';

export interface InspectionOptions {
  readonly stage: string;
  /** Before the first look at a command's result, and half as much again before each further one. */
  readonly firstPollMs?: number;
}

/** Asks with the credentials of whoever runs it (`inspections` in permissions.ts). */
export function makeInspection(
  clients: Clients,
  { stage, firstPollMs = 1_500 }: InspectionOptions,
): Inspection {
  const request = { clients, document: snapshotDocumentName(stage), firstPollMs };
  return {
    async takeSnapshot(node, deadline, signal) {
      try {
        return await readSnapshot({ ...request, signal }, node, deadline);
      } catch (error) {
        signal?.throwIfAborted();
        throw error instanceof PeermasqError
          ? withAdvice(toSnapshotError(error, node), manualCommand(node))
          : error;
      }
    },
    getRuleSetsInForce: (nodes, deadline) =>
      getRuleSetsInForce(clients, documentName(stage), nodes, deadline),
  };
}

interface SnapshotRequest {
  readonly clients: Clients;
  readonly document: string;
  readonly firstPollMs: number;
  readonly signal: AbortSignal | undefined;
}

/** Commands that an agent runs side by side (SSM agent, CommandWorkersLimit: 5). */
const parallelCommands = 5;

/** Part 0 takes the snapshot; it mostly is the only one. */
async function readSnapshot(request: SnapshotRequest, node: Node, deadline: Deadline): Promise<string> {
  const first = await readPart(request, node, 0, deadline);
  const others = Array.from({ length: first.count - 1 }, (_, i) => i + 1);
  const parts = [first];
  for (const some of chunks(others, parallelCommands)) {
    parts.push(...(await Promise.all(some.map((number) => readPart(request, node, number, deadline)))));
  }
  return joinParts(parts);
}

async function readPart(
  request: SnapshotRequest,
  node: Node,
  number: number,
  deadline: Deadline,
): Promise<SnapshotPart> {
  const id = await sendSnapshotCommand(request, node, number, deadline);
  const invocation = await awaitInvocation(request, node, id, deadline);
  const failure = deliveryError({ ...invocation, CommandId: id });
  if (failure) throw failure;
  const part = parsePart(invocation.StandardOutputContent ?? '');
  if (part) return part;
  const why = invocation.StandardErrorContent?.trim().slice(-500);
  const advice = 'Do what it says: the program needs root, and iptables or nft.';
  throw new PermanentError('no-snapshot', `${node.name} does not show its rules: ${why ?? ''}`, advice);
}

async function sendSnapshotCommand(
  { clients: { ssm, waitToSend }, document }: SnapshotRequest,
  { ref }: Node,
  number: number,
  deadline: Deadline,
): Promise<string> {
  await waitToSend(deadline);
  const { Command } = await call('ssm:SendCommand', deadline, (options) =>
    ssm.send(
      new SendCommandCommand({
        DocumentName: document,
        InstanceIds: [ref.id],
        Parameters: { [partParameter]: [String(number)] },
        Comment: 'peermasq snapshot',
        TimeoutSeconds: startTimeoutSeconds,
      }),
      options,
    ),
  );
  return Command?.CommandId ?? '';
}

/** The least that SendCommand takes. */
const startTimeoutSeconds = 30;
const maxPauseMs = 5_000;

async function awaitInvocation(
  { clients: { ssm }, firstPollMs, signal }: SnapshotRequest,
  node: Node,
  id: string,
  deadline: Deadline,
) {
  for (let pauseMs = firstPollMs; ; pauseMs = Math.min(pauseMs * 1.5, maxPauseMs)) {
    if (Date.now() + pauseMs >= deadline) throw noAnswer(node, `it has not answered command ${id} in time`);
    await sleep(pauseMs, undefined, { signal });
    const invocation = await undefinedIfNotReady(
      call('ssm:GetCommandInvocation', deadline, (options) =>
        ssm.send(new GetCommandInvocationCommand({ CommandId: id, InstanceId: node.ref.id }), options),
      ),
    );
    if (invocation && isFinished(invocation)) return invocation;
  }
}

const noAnswer = ({ name }: Node, why: string, cause?: unknown) =>
  new RetryableError('no-answer', `${name} does not answer: ${why}`, checkAgentAdvice, 30, cause);

const checkAgentAdvice = 'Look at its SSM agent, and at the role of its instance profile.';

/** What the answers of SSM mean to who looks at one node. */
function toSnapshotError(error: PeermasqError, node: Node): PeermasqError {
  if (error.code === 'InvalidInstanceId') return noAnswer(node, 'its SSM agent is not online', error);
  if (error.code !== 'InvalidDocument') return error;
  const advice = 'Deploy the stage once more, which brings the document; member accounts do not have it.';
  return new PermanentError('no-document', error.message, advice, error);
}

const manualCommand = ({ ref }: Node) =>
  `By hand: aws ssm start-session --target ${ref.id}, there ${snapshotCommand}, or without the program ${manualSnapshotCommand}; save what is printed in FILE, then ${explainCommand}`;

/**
 * SSM keeps commands, with their parameters, for 30 days. Nodes with the same record share one look at the commands
 * of the one that was recorded last.
 */
async function getRuleSetsInForce(
  clients: Clients,
  document: string,
  nodes: readonly Node[],
  deadline: Deadline,
): Promise<ReadonlyMap<NodeKey, RuleSet>> {
  const found = new Map<NodeKey, RuleSet>();
  const recorded = nodes.filter((node) => node.recorded);
  for (const [id, some] of groupBy(recorded, (node) => node.recorded?.ruleSetId ?? '')) {
    const [last] = some.toSorted((a, b) => recordedAt(b) - recordedAt(a));
    const ruleSet = last && (await readPushedRuleSet(clients, document, last, id, deadline));
    for (const node of some) if (ruleSet) found.set(nodeKey(node.ref), ruleSet);
  }
  return found;
}

const recordedAt = ({ recorded }: Node): number => recorded?.at?.getTime() ?? 0;

/** The rule set `id` as a command brought it to this node. */
async function readPushedRuleSet(
  { ssm }: Clients,
  document: string,
  { ref }: Node,
  id: string,
  deadline: Deadline,
): Promise<RuleSet | undefined> {
  const Filters = [{ key: 'DocumentName' as const, value: document }];
  const pages = await allPages((next) =>
    call('ssm:ListCommands', deadline, (options) =>
      ssm.send(new ListCommandsCommand({ InstanceId: ref.id, Filters, MaxResults: 50, ...next }), options),
    ),
  );
  return pages
    .flatMap(({ Commands = [] }) => Commands)
    .flatMap(({ Parameters }) => Parameters?.[ruleSetParameter] ?? [])
    .flatMap((text) => tryParseRuleSet(text) ?? [])
    .find((ruleSet) => ruleSetId(ruleSet) === id);
}

/** Whoever may send commands can send this document what they like. */
function tryParseRuleSet(text: string): RuleSet | undefined {
  try {
    return parseRuleSet(text);
  } catch (error) {
    if (error instanceof PermanentError) return undefined;
    throw error;
  }
}
