import { setTimeout as pause } from 'node:timers/promises';
import { RetryableError } from '../core/errors';
import type { Node } from '../core/node';
import type { Deadline, Proof, Pushed } from '../core/ports';
import type { Report } from '../core/report';
import { mapLimited, type Clients } from './clients';
import { toPeermasqError } from './errors';
import { gcpRef, instanceOf, itemsOf, type Instance } from './instance';
import { handedIn } from './metadata';
import { isOfThisBoot } from './nodes';
import { faultSoFar } from './operations';
import type { WrittenTo } from './push';
import { startedAt } from './record';
import { readStatus } from './status';

/** What has not been reported after this is for a later look; only who restarts a node waits longer. */
const patienceMs = 60_000;
/** Guest attributes of a VM may be asked for ten times a minute, by all who ask. */
const firstPauseMs = 500;
const longestPauseMs = 15_000;

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
  { node, id }: Pushed,
  deadline: Deadline,
): Promise<Proof> {
  const silent = (reason: string): Proof => ({ result: 'silent', node, reason, retryAfterSeconds: 30 });
  try {
    const instance = await instanceOf(clients, node, deadline);
    if (!instance) return silent('it does not exist any more');
    const status = await readStatus(clients, gcpRef(node), instance, deadline);
    if (status.kind === 'unreadable') return silent(status.reason);
    const report =
      status.kind === 'report' && isCurrent(status.report, node, instance) ? status.report : undefined;
    const answered = report?.offered ?? report?.id;
    if (report && answered === id) return { result: 'reported', node, report };
    const nothing = status.kind === 'report' ? 'it has not reported since it started again' : 'no report yet';
    const why = report
      ? `its last report is about ${answered ?? 'no rule set'}: ${report.reason ?? report.result}`
      : nothing;
    if (!isUnwatched(instance, written.get(node)?.at, report)) return silent(why);
    return await orFault(clients, written, unwatched(node, why, report), deadline);
  } catch (thrown) {
    const error = toPeermasqError(`read the report of ${node.name}`, thrown);
    // The next round asks again.
    if (error instanceof RetryableError) return silent(error.message);
    return { result: 'failed', node, error };
  }
}

/** A node may have lost its rules since it wrote what is from before it started again. */
function isCurrent(report: Report, node: Node, instance: Instance): boolean {
  const startsAgain = node.state === 'starting' && node.recorded?.ruleSetId === report.id;
  return report.booted === undefined ? !startsAgain : isOfThisBoot(report, instance);
}

/** From its start to the end of its startup script a VM takes less; a watch takes a change within seconds. */
const bootMs = 90_000;
const watchMs = 20_000;

/** One that has reported has a watch, which may be slow; after this it does not follow any more. */
const stalledMs = 300_000;

/**
 * Whether nothing on a running node takes what it was handed: it had started before, and has not reported for so
 * long that it never will. Without the time of its start nobody can tell.
 */
function isUnwatched(instance: Instance, writtenAt: Date | undefined, report: Report | undefined): boolean {
  if (instance.status !== 'RUNNING' || !instance.lastStartTimestamp) return false;
  const handedAt = (writtenAt ?? handedIn(itemsOf(instance))?.at ?? new Date()).getTime();
  const [now, started] = [Date.now(), startedAt(instance).getTime()];
  if (report) return now - handedAt >= stalledMs;
  return started < handedAt && now - started >= bootMs && now - handedAt >= watchMs;
}

const unwatched = (node: Node, why: string, report: Report | undefined): Proof => ({
  result: 'unwatched',
  node,
  reason: report
    ? `Its watch does not follow its metadata any more (${why}).`
    : 'It was running before it was handed its rules, and no watch on it takes them: it takes them when it boots again.',
  isServing: report?.proven === true,
});
