import { setTimeout as sleep } from 'node:timers/promises';
import { CreateTagsCommand } from '@aws-sdk/client-ec2';
import {
  DescribeInstanceInformationCommand,
  GetCommandInvocationCommand,
  ListCommandInvocationsCommand,
  SendCommandCommand,
  type CommandInvocation,
} from '@aws-sdk/client-ssm';
import { PeermasqError, PermanentError, RetryableError } from '../core/errors';
import type { Node } from '../core/node';
import type { Channel, Deadline, Proof, Push, Pushed } from '../core/ports';
import { parseReport, type Report } from '../core/report';
import { packRuleSet, ruleSetId, type RuleSet } from '../core/rule-set';
import { allPages, call, chunks, namedIn, withoutMissing, type Clients } from './clients';
import { documentName, packedLimit, ruleSetParameter, ruleSetTag, statusTag } from './names';
import { printStatus } from './nodes';

export interface ChannelOptions {
  readonly stage: string;
  /** Before the first look at a command's results, and half as much again before each further one. */
  readonly firstLookMs?: number;
}

export function makeChannel(clients: Clients, { stage, firstLookMs = 1_500 }: ChannelOptions): Channel {
  const document = documentName(stage);
  return {
    push: (ruleSet, nodes, deadline) => push(clients, document, ruleSet, nodes, deadline),
    proofs: (pushed, deadline) => proofs(clients, pushed, firstLookMs, deadline),
    remember: (reports, deadline) => remember(clients, reports, deadline),
  };
}

/** Instances in one SendCommand, and in one page of DescribeInstanceInformation (SSM API reference). */
const commandLimit = 50;

async function push(
  clients: Clients,
  document: string,
  ruleSet: RuleSet,
  nodes: readonly Node[],
  deadline: Deadline,
): Promise<Push[]> {
  const packed = packRuleSet(ruleSet);
  if (packed.length > packedLimit)
    return nodes.map((node) => ({ result: 'failed', node, error: tooLarge(packed) }));
  const online = await readOnline(clients, nodes, deadline);
  const pushes = nodes
    .filter(({ ref }) => !online.has(ref.id))
    .map((node) => notReady(node, 'its SSM agent is not online'));
  for (const some of chunks(
    nodes.filter(({ ref }) => online.has(ref.id)),
    commandLimit,
  )) {
    pushes.push(...(await send(clients, document, { ruleSet, packed }, some, deadline)));
  }
  return pushes;
}

function tooLarge(packed: string): PermanentError {
  return new PermanentError(
    'rule-set-too-large',
    `The rule set has ${packed.length} characters when packed; a command carries ${packedLimit}`,
    'Name fewer or wider ranges in the configuration of the cluster.',
  );
}

/** Agents register some 10 to 60 s after their instance started. */
function notReady(node: Node, reason: string): Push {
  return { result: 'not-ready', node, reason, retryAfterSeconds: 10 };
}

async function readOnline(
  { ssm }: Clients,
  nodes: readonly Node[],
  deadline: Deadline,
): Promise<Set<string>> {
  const online = new Set<string>();
  for (const some of chunks(nodes, commandLimit)) {
    const Filters = [{ Key: 'InstanceIds', Values: some.map(({ ref }) => ref.id) }];
    const pages = await allPages((next) =>
      call('ssm:DescribeInstanceInformation', deadline, (options) =>
        ssm.send(
          new DescribeInstanceInformationCommand({ Filters, MaxResults: commandLimit, ...next }),
          options,
        ),
      ),
    );
    for (const { InstanceId, PingStatus } of pages.flatMap((page) => page.InstanceInformationList ?? [])) {
      if (InstanceId !== undefined && PingStatus === 'Online') online.add(InstanceId);
    }
  }
  return online;
}

/**
 * One command for up to 50 nodes. SSM refuses all of them for one that it cannot serve; those that its
 * answer names are given up and the rest is sent again.
 */
async function send(
  clients: Clients,
  document: string,
  { ruleSet, packed }: { readonly ruleSet: RuleSet; readonly packed: string },
  nodes: readonly Node[],
  deadline: Deadline,
): Promise<Push[]> {
  if (nodes.length === 0) return [];
  const ids = nodes.map(({ ref }) => ref.id);
  try {
    const { Command } = await call('ssm:SendCommand', deadline, (options) =>
      clients.ssm.send(
        new SendCommandCommand({
          DocumentName: document,
          InstanceIds: ids,
          Parameters: { [ruleSetParameter]: [packed] },
          Comment: `peermasq ${ruleSetId(ruleSet).slice(0, 12)} generation ${ruleSet.generation}`,
          // Seconds within which a node has to start it. A later rule set has a later generation.
          TimeoutSeconds: 120,
          MaxConcurrency: '100%',
          MaxErrors: '100%',
        }),
        options,
      ),
    );
    const id = Command?.CommandId ?? '';
    return nodes.map((node) => ({ result: 'pushed', node, ruleSet, id }));
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    const named = new Set(namedIn(error, ids));
    const isRefusal = error.code === 'InvalidInstanceId' || error.code === 'access-denied';
    // Without permission for the document no node can be served.
    if (error.code === 'access-denied' && named.size === 0) throw error;
    const isGivenUp = ({ ref }: Node) => !isRefusal || named.size === 0 || named.has(ref.id);
    const givenUp = nodes
      .filter(isGivenUp)
      .map((node): Push =>
        error.code === 'InvalidInstanceId'
          ? notReady(node, 'SSM does not know it as an instance that can take a command')
          : { result: 'failed', node, error },
      );
    const rest = nodes.filter((node) => !isGivenUp(node));
    return [...givenUp, ...(await send(clients, document, { ruleSet, packed }, rest, deadline))];
  }
}

/** Left of the invocation's time for what follows the proofs. */
const reserveMs = 2_000;

async function proofs(
  clients: Clients,
  pushed: readonly Pushed[],
  firstLookMs: number,
  deadline: Deadline,
): Promise<Proof[]> {
  const waiting = new Set(pushed);
  const done: Proof[] = [];
  let pauseMs = firstLookMs;
  while (waiting.size > 0 && Date.now() + pauseMs < deadline - reserveMs) {
    await sleep(pauseMs);
    for (const commandId of new Set([...waiting].map(({ id }) => id))) {
      const finished = await orLater(readFinished(clients, commandId, deadline));
      for (const one of [...waiting].filter(({ id }) => id === commandId)) {
        const invocation = finished?.get(one.node.ref.id);
        const proof = invocation && (await orLater(toProof(clients, one, invocation, deadline)));
        if (!proof) continue;
        waiting.delete(one);
        done.push(proof);
      }
    }
    pauseMs = Math.min(pauseMs * 1.5, 15_000);
  }
  const silent = [...waiting].map(({ node, id }): Proof => {
    const reason = `it has not answered command ${id} yet`;
    return { result: 'silent', node, reason, retryAfterSeconds: 10 };
  });
  return [...done, ...silent];
}

/** What the next look may find: throttling passes, and a command is not at once known everywhere in SSM. */
async function orLater<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    const isUnknown = error instanceof PermanentError && /^Invocation|^InvalidCommandId$/.test(error.code);
    if (error instanceof RetryableError || isUnknown) return undefined;
    throw error;
  }
}

/** Instance → its finished invocation. One page tells of 50 nodes, and holds all but long outputs. */
async function readFinished({ ssm }: Clients, CommandId: string, deadline: Deadline) {
  const pages = await allPages((next) =>
    call('ssm:ListCommandInvocations', deadline, (options) =>
      ssm.send(
        new ListCommandInvocationsCommand({ CommandId, Details: true, MaxResults: commandLimit, ...next }),
        options,
      ),
    ),
  );
  const isOver = ({ Status }: CommandInvocation) =>
    /^(Success|Failed|TimedOut|Cancelled)$/.test(Status ?? '');
  return new Map(
    pages
      .flatMap(({ CommandInvocations = [] }) => CommandInvocations)
      .filter(isOver)
      .map((invocation) => [invocation.InstanceId ?? '', invocation]),
  );
}

async function toProof(
  clients: Clients,
  { node, id }: Pushed,
  invocation: CommandInvocation,
  deadline: Deadline,
): Promise<Proof> {
  const failure = undelivered(invocation);
  if (failure) return { result: 'failed', node, error: failure };
  const report = await readReport(clients, id, node.ref.id, invocation, deadline);
  return report instanceof PeermasqError
    ? { result: 'failed', node, error: report }
    : { result: 'reported', node, report };
}

/** Status details with which the program did not run to its end, and whether another push can help. */
const failures: Readonly<Record<string, { readonly retry: boolean; readonly why: string }>> = {
  deliverytimedout: { retry: true, why: 'its agent did not fetch the command in time' },
  executiontimedout: { retry: true, why: 'the node program was stopped because it took too long' },
  undeliverable: { retry: true, why: 'the command could not be delivered to its agent' },
  terminated: { retry: true, why: 'the command ended before it reached the node' },
  rateexceeded: { retry: true, why: 'the node has too many commands waiting' },
  // Whoever cancels a command wants it not to run.
  cancelled: { retry: false, why: 'the command was cancelled' },
  invalidplatform: { retry: false, why: 'the document does not run on its platform' },
  accessdenied: { retry: false, why: 'the command is not allowed on it' },
};

function undelivered({ StatusDetails = '', CommandId = '' }: CommandInvocation): PeermasqError | undefined {
  const failure = failures[StatusDetails.replaceAll(/[\s_]/g, '').toLowerCase()];
  if (!failure) return undefined;
  const message = `SSM command ${CommandId} ended as ${StatusDetails}: ${failure.why}`;
  const advice = 'Look at the SSM agent on the node, and at the command in Systems Manager, Run Command.';
  return failure.retry
    ? new RetryableError('command-not-run', message, advice, 30)
    : new PermanentError('command-not-run', message, advice);
}

/** The report is the first line; the listing cuts outputs at 2,500 characters, the invocation at 24,000. */
async function readReport(
  { ssm }: Clients,
  CommandId: string,
  InstanceId: string,
  { CommandPlugins: [plugin] = [] }: CommandInvocation,
  deadline: Deadline,
): Promise<Report | PermanentError> {
  const listed = reportIn(plugin?.Output);
  if (!(listed instanceof PermanentError)) return listed;
  const whole = await call('ssm:GetCommandInvocation', deadline, (options) =>
    ssm.send(new GetCommandInvocationCommand({ CommandId, InstanceId }), options),
  );
  return whole.StandardOutputContent
    ? reportIn(whole.StandardOutputContent)
    : noReport(whole.ResponseCode, whole.StandardErrorContent);
}

function reportIn(output = ''): Report | PermanentError {
  try {
    return parseReport(output.split('\n', 1)[0] ?? '');
  } catch (error) {
    if (error instanceof PermanentError) return error;
    throw error;
  }
}

/** Permanent: the same program on the same node ends the same way, and the sweep tries it again anyway. */
function noReport(code: number | undefined, stderr = ''): PermanentError {
  return new PermanentError(
    'no-report',
    `The node program ended with ${code ?? 'no exit code'} and no report: ${stderr.trim().slice(-500) || 'it printed nothing'}`,
    'Look at the output of the command on the node: bash may be missing, or /var/lib not writable.',
  );
}

async function remember(
  { ec2 }: Clients,
  reports: readonly { readonly node: Node; readonly report: Report }[],
  deadline: Deadline,
): Promise<void> {
  const now = new Date();
  const groups = new Map<string, { tags: { Key: string; Value: string }[]; ids: string[] }>();
  for (const { node, report } of reports) {
    const tags = [
      ...(report.id === null ? [] : [{ Key: ruleSetTag, Value: report.id }]),
      { Key: statusTag, Value: printStatus(report.proven, now) },
    ];
    const key = JSON.stringify(tags);
    const group = groups.get(key) ?? { tags, ids: [] };
    group.ids.push(node.ref.id);
    groups.set(key, group);
  }
  for (const { tags, ids } of groups.values()) {
    for (const some of chunks(ids, resourcesLimit)) {
      await withoutMissing(some, (Resources) =>
        call('ec2:CreateTags', deadline, (options) =>
          ec2.send(new CreateTagsCommand({ Resources, Tags: tags }), options),
        ),
      );
    }
  }
}

/** Resources in one CreateTags (EC2 API reference). */
const resourcesLimit = 1_000;
