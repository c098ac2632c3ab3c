import {
  GetCommandInvocationCommand,
  ListCommandsCommand,
  SendCommandCommand,
  type GetCommandInvocationResult,
} from '@aws-sdk/client-ssm';
import { PeermasqError, PermanentError, RetryableError, withAdvice } from '../core/model/errors';
import {
  explainCommand,
  joinParts,
  manualSnapshotCommand,
  parsePart,
  snapshotCommand,
  type SnapshotPart,
} from '../core/model/snapshot-parts';
import { nodeKey, type NodeKey } from '../core/model/node';
import type { Inspection } from '../core/cloud';
import { parseRuleSet, ruleSetId, type RuleSet } from '../core/model/rule-set';
import { chunks, groupBy } from '../core/util/collections';
import { poll } from '../core/util/poll';
import { tryParse } from '../core/util/functional';
import { call } from './client/call';
import type { Access, Clients } from './client/clients';
import { listAll } from './client/pages';
import { undefinedIfNotReady } from './deliver/proofs';
import { deliveryError, isFinished } from './deliver/command';
import type { AwsNode } from './discover/nodes';
import { documentName, partParameter, ruleSetParameter, snapshotDocumentName } from './names';

export interface InspectionOptions {
  readonly stage: string;
  /** The pause before the first poll for the result of a command. Later pauses are longer. */
  readonly firstPollMs?: number;
}

/**
 * Returns the operations for operators. No function has the permissions that these operations need
 * (`operatorStatements`).
 */
export function makeInspection(
  clients: Clients,
  { stage, firstPollMs = 1_500 }: InspectionOptions,
): Inspection<AwsNode> {
  const document = snapshotDocumentName(stage);
  return {
    async takeSnapshot(node, deadline, signal) {
      try {
        return await readSnapshot({ clients, deadline, document, node, firstPollMs, signal });
      } catch (error) {
        signal?.throwIfAborted();
        throw error instanceof PeermasqError
          ? withAdvice(toSnapshotError(error, node), manualAdvice(node))
          : error;
      }
    },
    getRuleSetsInForce: (nodes, deadline) =>
      getRuleSetsInForce({ clients, deadline, document: documentName(stage) }, nodes),
  };
}

interface DocumentAccess extends Access {
  /** The name of the SSM document. */
  readonly document: string;
}

interface SnapshotRequest extends DocumentAccess {
  readonly node: AwsNode;
  readonly firstPollMs: number;
  readonly signal: AbortSignal | undefined;
}

/** The number of commands that an SSM agent runs in parallel (its setting CommandWorkersLimit). */
const parallelCommands = 5;

/** Reads all parts of a snapshot. The command for part 0 takes the snapshot, and most snapshots have only this part. */
async function readSnapshot(request: SnapshotRequest): Promise<string> {
  const first = await readPart(request, 0);
  const others = Array.from({ length: first.count - 1 }, (_, index) => index + 1);
  const parts = [first];
  for (const some of chunks(others, parallelCommands)) {
    parts.push(...(await Promise.all(some.map((number) => readPart(request, number)))));
  }
  return joinParts(parts);
}

async function readPart(request: SnapshotRequest, number: number): Promise<SnapshotPart> {
  const { node } = request;
  const id = await sendSnapshotCommand(request, number);
  const invocation = await awaitInvocation(request, id);
  const undelivered = deliveryError({ ...invocation, CommandId: id });
  if (undelivered) throw undelivered;
  const part = parsePart(invocation.StandardOutputContent ?? '');
  if (part) return part;
  const output = invocation.StandardErrorContent?.trim().slice(-500) ?? '';
  const advice = 'See the message above. The program needs root permissions, and iptables or nft.';
  throw new PermanentError('no-snapshot', `${node.name} returned no snapshot: ${output}`, { advice });
}

/** The shortest start timeout that SendCommand accepts. */
const startTimeoutSeconds = 30;

async function sendSnapshotCommand(
  { clients: { ssm, waitToSend }, deadline, document, node }: SnapshotRequest,
  number: number,
): Promise<string> {
  await waitToSend(deadline);
  const command = new SendCommandCommand({
    DocumentName: document,
    InstanceIds: [node.ref.id],
    Parameters: { [partParameter]: [String(number)] },
    Comment: 'peermasq snapshot',
    TimeoutSeconds: startTimeoutSeconds,
  });
  const { Command } = await call('ssm:SendCommand', deadline, (options) => ssm.send(command, options));
  return Command?.CommandId ?? '';
}

async function awaitInvocation(
  { clients: { ssm }, deadline, node, firstPollMs, signal }: SnapshotRequest,
  commandId: string,
): Promise<GetCommandInvocationResult> {
  const readFinished = async () => {
    const command = new GetCommandInvocationCommand({ CommandId: commandId, InstanceId: node.ref.id });
    const invocation = await undefinedIfNotReady(
      call('ssm:GetCommandInvocation', deadline, (options) => ssm.send(command, options)),
    );
    return invocation && isFinished(invocation) ? invocation : undefined;
  };
  const options = { firstPauseMs: firstPollMs, maxPauseMs: 5_000, deadline, signal };
  const invocation = await poll(readFinished, options);
  if (!invocation) throw noAnswer(node, `command ${commandId} timed out`);
  return invocation;
}

const noAnswer = ({ name }: AwsNode, reason: string, cause?: unknown) =>
  new RetryableError('no-answer', `${name} does not respond: ${reason}`, {
    advice: checkAgentAdvice,
    retryAfterSeconds: 30,
    cause,
  });

const checkAgentAdvice = 'Check its SSM agent and the role of its instance profile.';

function toSnapshotError(error: PeermasqError, node: AwsNode): PeermasqError {
  if (error.code === 'InvalidInstanceId') return noAnswer(node, 'its SSM agent is not online', error);
  if (error.code !== 'InvalidDocument') return error;
  const advice =
    'Deploy the stage again to create the document. The document does not exist in member accounts.';
  return new PermanentError('no-document', error.message, { advice, cause: error });
}

const manualAdvice = ({ ref }: AwsNode) =>
  `Manually: aws ssm start-session --target ${ref.id}, then ${snapshotCommand} (without the node program: ${manualSnapshotCommand}). Save the output as FILE, then run ${explainCommand}`;

/**
 * Finds rule sets in the command history. SSM keeps commands and their parameters for 30 days. Nodes with the same rule
 * set share one listing.
 */
async function getRuleSetsInForce(
  access: DocumentAccess,
  nodes: readonly AwsNode[],
): Promise<ReadonlyMap<NodeKey, RuleSet>> {
  const found = new Map<NodeKey, RuleSet>();
  const recorded = nodes.filter((node) => node.recorded);
  for (const [id, group] of groupBy(recorded, (node) => node.recorded?.ruleSetId ?? '')) {
    const [latest = group[0]] = group.toSorted((a, b) => recordedAt(b) - recordedAt(a));
    const ruleSet = await readPushedRuleSet(access, latest, id);
    if (ruleSet) for (const node of group) found.set(nodeKey(node.ref), ruleSet);
  }
  return found;
}

const recordedAt = ({ recorded }: AwsNode): number => recorded?.at?.getTime() ?? 0;

/** Returns the rule set with this id from a command that was sent to the node. */
async function readPushedRuleSet(
  { clients: { ssm }, deadline, document }: DocumentAccess,
  { ref }: AwsNode,
  id: string,
): Promise<RuleSet | undefined> {
  const Filters = [{ key: 'DocumentName' as const, value: document }];
  const pages = await listAll('ssm:ListCommands', deadline, (next, options) =>
    ssm.send(new ListCommandsCommand({ InstanceId: ref.id, Filters, MaxResults: 50, ...next }), options),
  );
  return pages
    .flatMap(({ Commands = [] }) => Commands)
    .flatMap(({ Parameters }) => Parameters?.[ruleSetParameter] ?? [])
    .flatMap((text) => tryParseRuleSet(text) ?? [])
    .find((ruleSet) => ruleSetId(ruleSet) === id);
}

/**
 * Any user with permission to send commands can pass arbitrary parameters to the document, so a parameter may not be a
 * valid rule set.
 */
const tryParseRuleSet = (text: string): RuleSet | undefined =>
  tryParse(
    () => parseRuleSet(text),
    (error) => error instanceof PermanentError,
  );
