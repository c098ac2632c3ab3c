import { setTimeout as sleep } from 'node:timers/promises';
import {
  ListCommandInvocationsCommand,
  ListCommandsCommand,
  type CommandFilter,
  type CommandInvocation,
} from '@aws-sdk/client-ssm';
import { PermanentError, RetryableError } from '../../core/model/errors';
import type { ProofResult, PushedNode } from '../../core/cloud';
import { groupBy } from '../../core/util/collections';
import { poll } from '../../core/util/poll';
import type { Access } from '../client/clients';
import { listAll } from '../client/pages';
import type { AwsNode } from '../discover/nodes';
import { isFinished, toProof } from './command';

/** The time that is reserved for the rest of the invocation after the wait for proofs. */
const reserveMs = 2_000;

/**
 * The maximum time to wait for proofs, so that slow nodes do not delay the batch. functions/aws/command-finished.ts
 * reads the results of slower nodes.
 */
const maxWaitMs = 25_000;

const maxPauseMs = 5_000;

/** The maximum age of a command that is awaited. No invocation of a function runs longer than this. */
const maxCommandAgeMs = 900_000;

export interface AwaitOptions {
  /** The name of the SSM document. */
  readonly document: string;
  readonly firstPollMs: number;
}

/**
 * Waits until the commands have finished. Each poll makes one listing of all commands, then reads the invocations of
 * each finished command once.
 */
export async function awaitProofs(
  access: Access,
  pushed: readonly PushedNode<AwsNode>[],
  { document, firstPollMs }: AwaitOptions,
): Promise<ProofResult<AwsNode>[]> {
  const sentAfter = new Date(Date.now() - maxCommandAgeMs);
  const until = Math.min(access.deadline - reserveMs, Date.now() + maxWaitMs);
  const waiting = new Map<string, readonly PushedNode<AwsNode>[]>(groupBy(pushed, ({ id }) => id));
  const proofs: ProofResult<AwsNode>[] = [];

  const collect = async (ids: Iterable<string>) => {
    for (const id of ids) {
      const { answered, silent } = await readCommandProofs(access, id, waiting.get(id) ?? []);
      proofs.push(...answered);
      if (silent.length > 0) waiting.set(id, silent);
      else waiting.delete(id);
    }
  };
  const pollOnce = async () => {
    // Listings end before the deadline, so that time remains to read the reports.
    const listing = readFinishedIds({ ...access, deadline: until }, document, sentAfter);
    const finished = await undefinedIfNotReady(listing);
    await collect([...waiting.keys()].filter((id) => finished?.has(id)));
    return waiting.size === 0 ? true : undefined;
  };

  if (waiting.size === 0) return [];
  await poll(pollOnce, { firstPauseMs: firstPollMs, maxPauseMs, deadline: until });
  if (waiting.size > 0) {
    // Finally, also read the commands that have finished on only some of their nodes.
    await sleep(Math.max(0, until - Date.now()));
    await collect([...waiting.keys()]);
  }
  return [...proofs, ...[...waiting.values()].flat().map(toSilent)];
}

function toSilent({ node, id }: PushedNode<AwsNode>): ProofResult<AwsNode> {
  return { result: 'no-report', node, reason: `no report from command ${id} yet`, retryAfterSeconds: 10 };
}

/**
 * Returns undefined if a later poll may succeed, for example after throttling or while a new command is not yet visible
 * everywhere in SSM.
 */
export async function undefinedIfNotReady<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    const isUnknown = error instanceof PermanentError && /^Invocation|^InvalidCommandId$/.test(error.code);
    if (error instanceof RetryableError || isUnknown) return undefined;
    throw error;
  }
}

/** Returns the ids of the commands of this document that have finished on all of their nodes. */
async function readFinishedIds(
  { clients: { ssm }, deadline }: Access,
  document: string,
  sentAfter: Date,
): Promise<Set<string>> {
  const Filters: CommandFilter[] = [
    { key: 'DocumentName', value: document },
    { key: 'InvokedAfter', value: sentAfter.toISOString() },
  ];
  const pages = await listAll('ssm:ListCommands', deadline, (next, options) =>
    ssm.send(new ListCommandsCommand({ Filters, MaxResults: 50, ...next }), options),
  );
  const finished = pages.flatMap(({ Commands = [] }) => Commands).filter(isFinished);
  return new Set(finished.flatMap(({ CommandId }) => CommandId ?? []));
}

/** Returns the reports of a command's nodes, and the nodes that have not reported yet. */
async function readCommandProofs(
  access: Access,
  commandId: string,
  nodes: readonly PushedNode<AwsNode>[],
): Promise<{ answered: ProofResult<AwsNode>[]; silent: PushedNode<AwsNode>[] }> {
  const finished = await undefinedIfNotReady(readFinishedInvocations(access, commandId));
  const answered: ProofResult<AwsNode>[] = [];
  const silent: PushedNode<AwsNode>[] = [];
  for (const pushed of nodes) {
    const invocation = finished?.get(pushed.node.ref.id);
    const proof = invocation && (await undefinedIfNotReady(toProof(access, pushed.node, invocation)));
    if (proof) answered.push(proof);
    else silent.push(pushed);
  }
  return { answered, silent };
}

/**
 * Returns the finished invocations by instance id. A page usually lists 50 nodes, or fewer if their outputs are long.
 */
export async function readFinishedInvocations(
  { clients: { ssm }, deadline }: Access,
  CommandId: string,
): Promise<ReadonlyMap<string, CommandInvocation>> {
  const pages = await listAll('ssm:ListCommandInvocations', deadline, (next, options) =>
    ssm.send(
      new ListCommandInvocationsCommand({ CommandId, Details: true, MaxResults: 50, ...next }),
      options,
    ),
  );
  return new Map(
    pages
      .flatMap(({ CommandInvocations = [] }) => CommandInvocations)
      .filter(isFinished)
      .map((invocation) => [invocation.InstanceId ?? '', invocation]),
  );
}
