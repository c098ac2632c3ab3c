import { formatError, messageOf, PeermasqError, RetryableError } from '../model/errors';
import type { NodeRef } from '../model/node';
import type { Skip, Warning } from './check-eligibility';
import type { Plan } from './plan';
import type { Log, LogEvent, RestartAdvice } from '../cloud';
import type { Report } from '../model/report';

/** What became of one node in one pass. */
export type Outcome = {
  readonly node: NodeRef;
  readonly cluster?: string;
  readonly launchedAt?: Date;
} & (
  | { readonly kind: 'skipped'; readonly skip: Skip }
  | { readonly kind: 'held'; readonly detail: string; readonly warnings: readonly Warning[] }
  /** A dry run: what would be pushed; `isChange` is false where that is in force already. */
  | {
      readonly kind: 'planned';
      readonly plan: Extract<Plan, { kind: 'rule-set' }>;
      readonly isChange: boolean;
    }
  /** In force and proven; without a report where the cloud's record already said so. */
  | {
      readonly kind: 'proven';
      readonly ruleSetId: string;
      readonly report?: Report;
      readonly warnings: readonly Warning[];
    }
  | {
      readonly kind: 'pending';
      readonly reason: string;
      readonly retryAfterSeconds: number;
      /** The cloud does not show it (yet). */
      readonly isAbsent?: boolean;
    }
  /** It was handed its rule set too late: nothing on it takes that before it boots again. */
  | {
      readonly kind: 'needs-reboot';
      readonly reason: string;
      readonly restart: RestartAdvice;
    }
  /** With the node's own words, where it gave any. */
  | { readonly kind: 'failed'; readonly error: PeermasqError; readonly report?: Report }
);

/** Seconds after which to look at this node again; undefined when its event is dealt with. */
export function retryAfterSeconds(outcome: Outcome): number | undefined {
  if (outcome.kind === 'pending') return outcome.retryAfterSeconds;
  if (outcome.kind === 'failed' && outcome.error instanceof RetryableError)
    return outcome.error.retryAfterSeconds;
  return undefined;
}

/** Whether a look told more than the record did. */
export function hasChanged(outcome: Outcome): boolean {
  return outcome.kind !== 'proven' || outcome.report !== undefined;
}

/** Some of its routes lead over a peering that is being set up, which takes seconds once both sides agreed. */
export function isProvisioning(outcome: Outcome): boolean {
  return warningsOf(outcome).some(({ code }) => code === 'provisioning');
}

/**
 * Whether a node is not proven although it had the time; it counts as one where the time of its launch is unknown.
 * @param launchedBefore milliseconds since the epoch
 */
export function isUnproven({ kind, launchedAt }: Outcome, launchedBefore: number): boolean {
  const isOpen = kind === 'pending' || kind === 'failed' || kind === 'needs-reboot';
  return isOpen && (launchedAt === undefined || launchedAt.getTime() < launchedBefore);
}

/** Why an outcome is not the end of it, in words. */
export function reasonOf(outcome: Outcome): string {
  switch (outcome.kind) {
    case 'pending':
    case 'needs-reboot':
      return outcome.reason;
    case 'failed':
      return formatError(outcome.error);
    case 'held':
      return outcome.detail;
    case 'skipped':
      return `${outcome.skip.reason}: ${outcome.skip.detail}`;
    case 'planned':
    case 'proven':
      return `It is ${outcome.kind}.`;
  }
}

function warningsOf(outcome: Outcome): readonly Warning[] {
  switch (outcome.kind) {
    case 'skipped':
      return outcome.skip.warnings;
    case 'planned':
      return outcome.plan.warnings;
    case 'held':
    case 'proven':
      return outcome.warnings;
    case 'pending':
    case 'failed':
    case 'needs-reboot':
      return [];
  }
}

interface LogEntry {
  readonly level: 'info' | 'warn' | 'error';
  readonly event: LogEvent;
  readonly fields: Record<string, unknown>;
}

/**
 * The log entry that tells an outcome: a fixed event name and its fields.
 * @param now milliseconds since the epoch
 */
export function logEntry(outcome: Outcome, now: number): LogEntry {
  const { node, cluster } = outcome;
  const subject = { cloud: node.cloud, node: node.id, cluster };
  switch (outcome.kind) {
    case 'skipped': {
      const { reason, detail, warnings } = outcome.skip;
      return { level: 'info', event: 'NodeSkipped', fields: { ...subject, reason, detail, warnings } };
    }
    case 'held':
      return {
        level: 'error',
        event: 'NodeHeld',
        fields: { ...subject, detail: outcome.detail, warnings: outcome.warnings },
      };
    case 'planned': {
      const { plan, isChange } = outcome;
      return {
        level: 'info',
        event: 'NodePlanned',
        fields: { ...subject, ruleSet: plan.id, isChange, warnings: plan.warnings },
      };
    }
    case 'proven': {
      const { ruleSetId: ruleSet, report, warnings } = outcome;
      const fields = {
        ...subject,
        ruleSet,
        report,
        warnings,
        secondsToProven: secondsToProven(outcome, now),
      };
      return { level: 'info', event: 'NodeProven', fields };
    }
    case 'pending': {
      const { reason, retryAfterSeconds: seconds } = outcome;
      return {
        level: 'info',
        event: 'NodePending',
        fields: { ...subject, reason, retryAfterSeconds: seconds },
      };
    }
    case 'needs-reboot':
      return { level: 'error', event: 'NodeNeedsReboot', fields: { ...subject, reason: outcome.reason } };
    case 'failed': {
      const seconds = retryAfterSeconds(outcome);
      const { error, report } = outcome;
      const fields = { ...subject, ...errorFields(error), report, retryAfterSeconds: seconds };
      return { level: seconds === undefined ? 'error' : 'warn', event: 'NodeFailed', fields };
    }
  }
}

/** A node that was launched longer ago than this did not join just now. */
const joinWindowMs = 3_600_000;

/** Undefined where that does not tell how long a joining node had to wait. */
function secondsToProven(outcome: Outcome, now: number): number | undefined {
  const age = now - (outcome.launchedAt?.getTime() ?? 0);
  return hasChanged(outcome) && age < joinWindowMs ? Math.max(0, age / 1_000) : undefined;
}

export function logOutcomes(outcomes: readonly Outcome[], log: Log, now: number): void {
  for (const outcome of outcomes) {
    const { level, event, fields } = logEntry(outcome, now);
    log[level](event, fields);
  }
}

/** What a log entry says of a fault: its code, what to do about it, and the error with its causes. */
export function errorFields(error: unknown): Record<string, unknown> {
  const { code, advice } = error instanceof PeermasqError ? error : { code: 'unexpected', advice: undefined };
  return { code, reason: messageOf(error), advice, err: error };
}
