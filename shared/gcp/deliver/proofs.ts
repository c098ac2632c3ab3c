import { setTimeout as pause } from 'node:timers/promises';
import { RetryableError } from '../../core/model/errors';
import type { Deadline, ProofResult, PushedNode } from '../../core/cloud';
import type { Report } from '../../core/model/report';
import { mapLimited, type Clients } from '../client/clients';
import { toPeermasqError } from '../client/errors';
import { metadataItems, type GcpNode, type Instance } from '../discover/instance';
import { assignedRuleSetIn, type AssignedRuleSet } from './metadata';
import { isFromCurrentBoot, isPlannedSinceStart } from '../discover/nodes';
import { readOperationError } from '../client/operations';
import { provenAt, startedAt, wasRestarted } from './status';
import { readReport, type ReportState } from './guest-attributes';

/** What has not been reported after this is for a later look; only who restarts a node waits longer. */
const maxWaitMs = 60_000;
/** Guest attributes of a VM may be asked for ten times a minute, by all who ask. */
export const firstPauseMs = 500;
export const maxPauseMs = 15_000;

/** What a whole fleet has done in this time it need not be asked for twice: an answer costs a call. */
const fleetPauseMs = 4_000;
const fleetSize = 20;

/**
 * Reads what nodes report about what they were pushed, in rounds over those who have not reported yet, further
 * and further apart.
 */
export async function awaitProofs(
  clients: Clients,
  pushed: readonly PushedNode<GcpNode>[],
  deadline: Deadline,
): Promise<ProofResult<GcpNode>[]> {
  const done: ProofResult<GcpNode>[] = [];
  const until = Math.min(deadline, Date.now() + maxWaitMs);
  let waiting = pushed;
  let wait = firstPauseMs;
  const isFleet = pushed.length > fleetSize;
  if (pushed.some(({ node }) => node.written)) {
    await pause(Math.min(isFleet ? fleetPauseMs : firstPauseMs, Math.max(0, until - Date.now())));
  }
  for (;;) {
    const reads = await mapLimited(waiting, async (one) => ({
      one,
      proof: await readProof(clients, one, deadline),
    }));
    const silent = reads.filter(({ proof }) => proof.result === 'no-report');
    done.push(...reads.filter(({ proof }) => proof.result !== 'no-report').map(({ proof }) => proof));
    if (silent.length === 0 || Date.now() + wait >= until) {
      const last = await mapLimited(silent, ({ proof }) => orOperationError(clients, proof, deadline));
      return [...done, ...last];
    }
    waiting = silent.map(({ one }) => one);
    await pause(wait);
    wait = Math.min(wait * 2, maxPauseMs);
  }
}

/** A node that says nothing may not have been written to at all. */
async function orOperationError(
  clients: Clients,
  proof: ProofResult<GcpNode>,
  deadline: Deadline,
): Promise<ProofResult<GcpNode>> {
  const { node } = proof;
  const operation = node.written?.operation;
  if (!operation) return proof;
  try {
    const operationError = await readOperationError(clients, node.ref, operation, deadline);
    return operationError ? { result: 'failed', node, error: operationError } : proof;
  } catch (thrown) {
    const error = toPeermasqError(`tell what became of ${node.name}`, thrown);
    return error instanceof RetryableError ? proof : { result: 'failed', node, error };
  }
}

async function readProof(
  clients: Clients,
  pushed: PushedNode<GcpNode>,
  deadline: Deadline,
): Promise<ProofResult<GcpNode>> {
  const { node, id } = pushed;
  const { instance } = node;
  const silent = (reason: string): ProofResult<GcpNode> => ({
    result: 'no-report',
    node,
    reason,
    retryAfterSeconds: 30,
  });
  try {
    const status = await readReport(clients, node.ref, instance, deadline);
    if (status.kind === 'unreadable') return silent(status.reason);
    const report = status.kind === 'report' && isCurrent(status.report, node) ? status.report : undefined;
    const minGeneration = node.written?.generation ?? 0;
    if (report && reportedId(report) === id && (report.generation ?? 0) >= minGeneration)
      return { result: 'reported', node, report };
    const last = report && aboutAnother(report);
    if (isUnwatched(instance, assignedTo(pushed), report)) {
      return await orOperationError(clients, unwatched(node, status, last), deadline);
    }
    const nothing = status.kind === 'report' ? 'it has not reported since it started again' : 'no report yet';
    return silent(last ?? nothing);
  } catch (thrown) {
    const error = toPeermasqError(`read the report of ${node.name}`, thrown);
    // The next round asks again.
    if (error instanceof RetryableError) return silent(error.message);
    return { result: 'failed', node, error };
  }
}

/** The rule set that a report is about. */
const reportedId = ({ offered, id }: Report): string | null => offered ?? id;

const aboutAnother = (report: Report): string =>
  `its last report is about ${reportedId(report) ?? 'no rule set'}: ${report.reason ?? report.result}`;

/**
 * A node may have lost its rules since it wrote what is from before it started again; not what it was handed after
 * that.
 */
function isCurrent(report: Report, node: GcpNode): boolean {
  const { instance } = node;
  if (isPlannedSinceStart(report, instance)) return true;
  const isRestarting = node.state === 'starting' && node.recorded?.ruleSetId === report.id;
  return report.booted === undefined ? !isRestarting : isFromCurrentBoot(report, instance);
}

/** From its start to the end of its startup scripts, somebody else's too, a VM takes less. */
const bootTimeoutMs = 300_000;

/** A watch takes a change within seconds, after trouble within 20; one that has reported may be slow for once. */
const watchTimeoutMs = 30_000;
const stalledAfterMs = 300_000;

/**
 * Whether nothing on a running node takes what it was handed after it had started, and it has had the time. Without
 * the time of its start nobody can tell, and a proof in its label outweighs its silence.
 */
function isUnwatched(instance: Instance, assigned: AssignedRuleSet, report: Report | undefined): boolean {
  if (instance.status !== 'RUNNING' || !instance.lastStartTimestamp || provenAt(instance, assigned))
    return false;
  const assignedAt = assigned.at.getTime();
  const [now, started] = [Date.now(), startedAt(instance).getTime()];
  const takesMs = report ? stalledAfterMs : watchTimeoutMs;
  return started < assignedAt && now - started >= bootTimeoutMs && now - assignedAt >= takesMs;
}

/** A rule set that was there already was handed over long ago, also where a newer program comes with it now. */
function assignedTo({ node, id }: PushedNode<GcpNode>): AssignedRuleSet {
  const before = assignedRuleSetIn(metadataItems(node.instance));
  return before?.ruleSetId === id ? before : { ruleSetId: id, at: node.written?.at ?? new Date() };
}

/** A node that has been up for less may still be busy with becoming one. */
const minUptimeMs = 600_000;

function unwatched(node: GcpNode, status: ReportState, lastReport: string | undefined): ProofResult<GcpNode> {
  const { instance } = node;
  const hasProvenRules = status.kind === 'report' && status.report.proven;
  const isBooting = Date.now() - startedAt(instance).getTime() < minUptimeMs;
  const reason = lastReport
    ? `Its watch does not follow its metadata any more (${lastReport}).`
    : 'It was running before it was handed its rules, and no watch on it takes them: it takes them when it boots again.';
  const restart = wasRestarted(instance)
    ? 'already-tried'
    : hasProvenRules || isBooting
      ? 'unsafe'
      : 'advised';
  return { result: 'no-watcher', node, reason, restart };
}
