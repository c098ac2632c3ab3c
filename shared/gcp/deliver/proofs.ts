import { setTimeout as sleep } from 'node:timers/promises';
import { RetryableError } from '../../core/model/errors';
import type { Deadline, ProofResult, PushedNode, RestartAdvice } from '../../core/cloud';
import type { Report } from '../../core/model/report';
import { poll } from '../../core/util/poll';
import { mapLimited } from '../client/call';
import type { Clients } from '../client/clients';
import { toPeermasqError } from '../client/errors';
import { readOperationError } from '../client/operations';
import type { Instance } from '../discover/networks';
import {
  assignedRuleSetIn,
  isFromCurrentBoot,
  isPlannedSinceStart,
  metadataItems,
  provenAt,
  readReport,
  startedAt,
  wasRestarted,
  type AssignedRuleSet,
  type ReportState,
} from '../discover/recorded-status';
import type { GcpNode } from '../discover/nodes';

type GcpProof = ProofResult<GcpNode>;
type Pushed = PushedNode<GcpNode>;

/**
 * The maximum time to wait for reports. Nodes that have not reported by then are handled by a later reconciliation.
 * Only restarts wait longer.
 */
const maxWaitMs = 60_000;

/**
 * The pauses between reads. The guest attributes of a VM can be read only ten times a minute in total, by all readers
 * together.
 */
export const reportPolling = { firstPauseMs: 500, maxPauseMs: 15_000, factor: 2 };

/**
 * For batches larger than this, the wait before the first reports are read is longer, because each read costs a call.
 */
const largeBatchSize = 20;
const largeBatchPauseMs = 4_000;

/**
 * Reads the reports of pushed nodes in rounds. Each round reads only the nodes without a report, after a longer
 * pause.
 */
export async function awaitProofs(
  clients: Clients,
  pushed: readonly Pushed[],
  deadline: Deadline,
): Promise<GcpProof[]> {
  const waitUntil = Math.min(deadline, Date.now() + maxWaitMs);
  const proofs = new Map<Pushed, GcpProof>();
  const isOpen = (one: Pushed) => (proofs.get(one)?.result ?? 'no-report') === 'no-report';
  const readRound = async () => {
    const open = pushed.filter(isOpen);
    await mapLimited(open, async (one) => proofs.set(one, await readProof(clients, one, deadline)));
    return pushed.some(isOpen) ? undefined : true;
  };
  if (pushed.some(({ node }) => node.written)) {
    const pauseMs = pushed.length > largeBatchSize ? largeBatchPauseMs : reportPolling.firstPauseMs;
    await sleep(Math.min(pauseMs, Math.max(0, waitUntil - Date.now())));
  }
  if (!(await readRound())) await poll(readRound, { ...reportPolling, deadline: waitUntil });
  const results = pushed.flatMap((one) => proofs.get(one) ?? []);
  return mapLimited(results, async (proof) =>
    proof.result === 'no-report' ? orOperationError(clients, proof, deadline) : proof,
  );
}

/**
 * Returns the error of the metadata write, if that write failed, because the error explains why the node has not
 * reported.
 */
async function orOperationError(clients: Clients, proof: GcpProof, deadline: Deadline): Promise<GcpProof> {
  const { node } = proof;
  if (!node.written) return proof;
  try {
    const { ref, written } = node;
    const change = { ref, operation: written.operation };
    const error = await readOperationError(clients, change, deadline);
    return error ? { result: 'failed', node, error } : proof;
  } catch (thrown) {
    const error = toPeermasqError(`read the result of the push to ${node.name}`, thrown);
    return error instanceof RetryableError ? proof : { result: 'failed', node, error };
  }
}

async function readProof(clients: Clients, pushed: Pushed, deadline: Deadline): Promise<GcpProof> {
  const { node } = pushed;
  try {
    const state = await readReport(clients, node, deadline);
    const proof = evaluateState(state, pushed);
    // If no watcher responded, the push itself may have failed. If it has, report its error.
    return proof.result === 'no-watcher' ? await orOperationError(clients, proof, deadline) : proof;
  } catch (thrown) {
    const error = toPeermasqError(`read the report of ${node.name}`, thrown);
    return error instanceof RetryableError
      ? noReport(node, error.message)
      : { result: 'failed', node, error };
  }
}

const noReport = (node: GcpNode, reason: string): GcpProof => ({
  result: 'no-report',
  node,
  reason,
  retryAfterSeconds: 30,
});

function evaluateState(state: ReportState, pushed: Pushed): GcpProof {
  const { node, id } = pushed;
  if (state.kind === 'unreadable') return noReport(node, state.reason);
  const report = state.kind === 'report' && isCurrent(state.report, node) ? state.report : undefined;
  const minGeneration = node.written?.generation ?? 0;
  if (report && reportedId(report) === id && (report.generation ?? 0) >= minGeneration)
    return { result: 'reported', node, report };
  const otherReport = report && describeReport(report);
  if (hasNoWatcher(node.instance, assignedTo(pushed), report)) {
    const reason = otherReport ? watcherStopped(otherReport) : neverWatched;
    return { result: 'no-watcher', node, reason, restart: restartAdvice(node.instance, state) };
  }
  const reason = state.kind === 'report' ? 'no report since its last start' : 'no report yet';
  return noReport(node, otherReport ?? reason);
}

/** Returns the id of the rule set that a report is about. */
const reportedId = ({ offered, id }: Report): string | null => offered ?? id;

const describeReport = (report: Report): string =>
  `its last report is about ${reportedId(report) ?? 'no rule set'}: ${report.reason ?? report.result}`;

const watcherStopped = (lastReport: string) =>
  `The watcher on the node no longer watches the node's metadata (${lastReport}).`;

const neverWatched =
  'The node was started before its rule set was assigned, and no watcher runs on it. The node applies the rule set when it next boots.';

/**
 * Whether a report was sent after the last start. Earlier reports are outdated, because rules do not survive a restart.
 */
function isCurrent(report: Report, { state, recorded, instance }: GcpNode): boolean {
  if (isPlannedSinceStart(report, instance)) return true;
  const isRestarting = state === 'starting' && recorded?.ruleSetId === report.id;
  return report.booted === undefined ? !isRestarting : isFromCurrentBoot(report, instance);
}

/** The maximum time from the start of a VM until all its startup scripts have finished. */
const bootTimeoutMs = 300_000;

/**
 * The time after which a missing report means that no watcher runs. A watcher applies a change within seconds, or
 * within 20 seconds after a failure. If the node has reported before, the longer `stalledAfterMs` applies.
 */
const watchTimeoutMs = 30_000;
const stalledAfterMs = 300_000;

/**
 * Whether a running node did not apply a rule set that was assigned after its start, although it had enough time. False
 * if the start time is unknown, or if the node's label contains a proof despite the missing report.
 */
function hasNoWatcher(instance: Instance, assigned: AssignedRuleSet, report: Report | undefined): boolean {
  if (instance.status !== 'RUNNING' || !instance.lastStartTimestamp || provenAt(instance, assigned))
    return false;
  const now = Date.now();
  const started = startedAt(instance).getTime();
  const assignedAt = assigned.at.getTime();
  const timeoutMs = report ? stalledAfterMs : watchTimeoutMs;
  return started < assignedAt && now - started >= bootTimeoutMs && now - assignedAt >= timeoutMs;
}

/**
 * Returns the rule set that is assigned to a node. If the rule set was assigned before this push, its original
 * generation is returned, even if this push updated the node program.
 */
function assignedTo({ node, id }: Pushed): AssignedRuleSet {
  const before = assignedRuleSetIn(metadataItems(node.instance));
  return before?.ruleSetId === id ? before : { ruleSetId: id, at: node.written?.at ?? new Date() };
}

/** A VM with a shorter uptime may still be joining the cluster. */
const minUptimeMs = 600_000;

function restartAdvice(instance: Instance, state: ReportState): RestartAdvice {
  if (wasRestarted(instance)) return 'already-tried';
  const hasProvenRules = state.kind === 'report' && state.report.proven;
  const isJoining = Date.now() - startedAt(instance).getTime() < minUptimeMs;
  return hasProvenRules || isJoining ? 'unsafe' : 'advised';
}
