import { setTimeout as pause } from 'node:timers/promises';
import { RetryableError } from '../core/errors';
import type { Node } from '../core/node';
import type { Deadline, Proof, Pushed } from '../core/ports';
import type { Report } from '../core/report';
import { mapLimited, type Clients } from './clients';
import { toPeermasqError } from './errors';
import { gcpRef, instanceOf, itemsOf, type Instance } from './instance';
import { handedIn, type Handed } from './metadata';
import { isOfThisBoot, isPlannedSince } from './nodes';
import { faultSoFar } from './operations';
import type { WrittenTo } from './push';
import { provenAt, startedAt, wasRestarted } from './record';
import { readStatus, type Status } from './status';

/** What has not been reported after this is for a later look; only who restarts a node waits longer. */
const patienceMs = 60_000;
/** Guest attributes of a VM may be asked for ten times a minute, by all who ask. */
export const firstPauseMs = 500;
export const longestPauseMs = 15_000;

/** What a whole fleet has done in this time it need not be asked for twice: an answer costs a call. */
const fleetPauseMs = 4_000;
const fleetSize = 20;

/**
 * Reads what nodes report about what they were pushed, in rounds over those who have not reported yet, further
 * and further apart.
 */
export async function awaitProofs(
  clients: Clients,
  written: WrittenTo,
  pushed: readonly Pushed[],
  deadline: Deadline,
): Promise<Proof[]> {
  const settled: Proof[] = [];
  const until = Math.min(deadline, Date.now() + patienceMs);
  let waiting = pushed;
  let wait = firstPauseMs;
  const isFleet = pushed.length > fleetSize;
  if (pushed.some(({ node }) => written.has(node))) {
    await pause(Math.min(isFleet ? fleetPauseMs : firstPauseMs, Math.max(0, until - Date.now())));
  }
  for (;;) {
    const asked = await mapLimited(waiting, async (one) => ({
      one,
      proof: await readProof(clients, written, one, deadline),
    }));
    const silent = asked.filter(({ proof }) => proof.result === 'silent');
    settled.push(...asked.filter(({ proof }) => proof.result !== 'silent').map(({ proof }) => proof));
    if (silent.length === 0 || Date.now() + wait >= until) {
      const last = await mapLimited(silent, ({ proof }) => orFault(clients, written, proof, deadline));
      return [...settled, ...last];
    }
    waiting = silent.map(({ one }) => one);
    await pause(wait);
    wait = Math.min(wait * 2, longestPauseMs);
  }
}

/** A node that says nothing may not have been written to at all. */
async function orFault(
  clients: Clients,
  written: WrittenTo,
  proof: Proof,
  deadline: Deadline,
): Promise<Proof> {
  const { node } = proof;
  const operation = written.get(node)?.operation;
  if (!operation) return proof;
  try {
    const fault = await faultSoFar(clients, gcpRef(node), operation, deadline);
    return fault ? { result: 'failed', node, error: fault } : proof;
  } catch (thrown) {
    const error = toPeermasqError(`tell what became of ${node.name}`, thrown);
    return error instanceof RetryableError ? proof : { result: 'failed', node, error };
  }
}

async function readProof(
  clients: Clients,
  written: WrittenTo,
  pushed: Pushed,
  deadline: Deadline,
): Promise<Proof> {
  const { node, id } = pushed;
  const silent = (reason: string): Proof => ({ result: 'silent', node, reason, retryAfterSeconds: 30 });
  try {
    const instance = await instanceOf(clients, node, deadline);
    if (!instance) return silent('it does not exist any more');
    const status = await readStatus(clients, gcpRef(node), instance, deadline);
    if (status.kind === 'unreadable') return silent(status.reason);
    const report =
      status.kind === 'report' && isCurrent(status.report, node, instance) ? status.report : undefined;
    const least = written.get(node)?.generation ?? 0;
    if (report && answeredBy(report) === id && (report.generation ?? 0) >= least)
      return { result: 'reported', node, report };
    const last = report && aboutAnother(report);
    if (isUnwatched(instance, handedTo(instance, pushed, written), report)) {
      return await orFault(clients, written, unwatched(node, instance, status, last), deadline);
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
const answeredBy = ({ offered, id }: Report): string | null => offered ?? id;

const aboutAnother = (report: Report): string =>
  `its last report is about ${answeredBy(report) ?? 'no rule set'}: ${report.reason ?? report.result}`;

/**
 * A node may have lost its rules since it wrote what is from before it started again; not what it was handed after
 * that.
 */
function isCurrent(report: Report, node: Node, instance: Instance): boolean {
  if (isPlannedSince(report, instance)) return true;
  const startsAgain = node.state === 'starting' && node.recorded?.ruleSetId === report.id;
  return report.booted === undefined ? !startsAgain : isOfThisBoot(report, instance);
}

/** From its start to the end of its startup scripts, somebody else's too, a VM takes less. */
const bootMs = 300_000;

/** A watch takes a change within seconds, after trouble within 20; one that has reported may be slow for once. */
const watchMs = 30_000;
const stalledMs = 300_000;

/**
 * Whether nothing on a running node takes what it was handed after it had started, and it has had the time. Without
 * the time of its start nobody can tell, and a proof in its label outweighs its silence.
 */
function isUnwatched(instance: Instance, handed: Handed, report: Report | undefined): boolean {
  if (instance.status !== 'RUNNING' || !instance.lastStartTimestamp || provenAt(instance, handed))
    return false;
  const handedAt = handed.at.getTime();
  const [now, started] = [Date.now(), startedAt(instance).getTime()];
  const takesMs = report ? stalledMs : watchMs;
  return started < handedAt && now - started >= bootMs && now - handedAt >= takesMs;
}

/** A rule set that was there already was handed over long ago, also where a newer program comes with it now. */
function handedTo(instance: Instance, { node, id }: Pushed, written: WrittenTo): Handed {
  const before = handedIn(itemsOf(instance));
  return before?.ruleSetId === id ? before : { ruleSetId: id, at: written.get(node)?.at ?? new Date() };
}

/** A node that has been up for less may still be busy with becoming one. */
const leastUptimeMs = 600_000;

function unwatched(node: Node, instance: Instance, status: Status, why: string | undefined): Proof {
  const isServing = status.kind === 'report' && status.report.proven;
  const isYoung = Date.now() - startedAt(instance).getTime() < leastUptimeMs;
  const reason = why
    ? `Its watch does not follow its metadata any more (${why}).`
    : 'It was running before it was handed its rules, and no watch on it takes them: it takes them when it boots again.';
  const restart = wasRestarted(instance) ? 'was-in-vain' : isServing || isYoung ? 'harmful' : 'helpful';
  return { result: 'unwatched', node, reason, restart };
}
