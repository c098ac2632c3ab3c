import type { RestartAdvice } from '../cloud';
import type { Log, LogEvent } from '../log';
import { formatError, messageOf, PeermasqError, RetryableError } from '../model/errors';
import type { Node, NodeRef } from '../model/node';
import { usedPercent, type PortUse, type Report } from '../model/report';
import { definedOnly } from '../util/collections';
import type { Skip, Warning } from './check-eligibility';
import type { Plan } from './plan';

/** Identifies the node of an outcome. */
export interface Subject {
  readonly node: NodeRef;
  readonly cluster?: string;
  readonly launchedAt?: Date;
}

/** The result of reconciling one node once. */
export type Outcome = Subject &
  (
    | { readonly kind: 'skipped'; readonly skip: Skip }
    | { readonly kind: 'held'; readonly detail: string; readonly warnings: readonly Warning[] }
    /** The plan of a dry run. `isChange` is false if the planned rule set is already in force and proven. */
    | {
        readonly kind: 'planned';
        readonly plan: Extract<Plan, { kind: 'rule-set' }>;
        readonly isChange: boolean;
      }
    /** The rule set is in force and proven. `report` is absent if the cloud had already recorded that. */
    | {
        readonly kind: 'proven';
        readonly ruleSetId: string;
        readonly report?: Report;
        /** The source ports in use, from the node's last report. Present only if there is no new report. */
        readonly ports?: readonly PortUse[];
        readonly warnings: readonly Warning[];
      }
    | {
        readonly kind: 'pending';
        readonly reason: string;
        readonly retryAfterSeconds: number;
        /** Whether the instance is missing from the cloud's list, possibly because it is very new. */
        readonly isAbsent?: boolean;
      }
    /** No watcher runs on the node, so the node applies the rule set when it next boots. */
    | { readonly kind: 'needs-reboot'; readonly reason: string; readonly restart: RestartAdvice }
    | { readonly kind: 'failed'; readonly error: PeermasqError; readonly report?: Report }
  );

/** @param cluster defaults to the first cluster that the node's tags or labels name */
export const subjectOf = (
  { ref, clusters, launchedAt }: Pick<Node, 'ref' | 'clusters' | 'launchedAt'>,
  cluster: string | undefined = clusters[0],
): Subject => definedOnly({ node: ref, cluster, launchedAt });

/** Returns undefined if a retry cannot help. */
export function retryAfterSeconds(outcome: Outcome): number | undefined {
  if (outcome.kind === 'pending') return outcome.retryAfterSeconds;
  if (outcome.kind === 'failed' && outcome.error instanceof RetryableError)
    return outcome.error.retryAfterSeconds;
  return undefined;
}

/** Returns false if the node was already proven, and nothing has changed since then. */
export function hasChanged(outcome: Outcome): boolean {
  return outcome.kind !== 'proven' || outcome.report !== undefined;
}

/**
 * Whether one of the node's peerings is still being set up. Once both sides have accepted a peering, the setup takes
 * seconds.
 */
export function isProvisioning(outcome: Outcome): boolean {
  return warningsOf(outcome).some(({ code }) => code === 'provisioning');
}

/**
 * Returns the highest percentage of source ports in use for any destination, or undefined if no report contains port
 * numbers.
 */
export function sourcePortsUsedPercent(outcomes: readonly Outcome[]): number | undefined {
  const shares = outcomes.flatMap(portsOf).map(usedPercent);
  return shares.length > 0 ? Math.max(...shares) : undefined;
}

function portsOf(outcome: Outcome): readonly PortUse[] {
  if (outcome.kind !== 'proven' && outcome.kind !== 'failed') return [];
  const earlier = outcome.kind === 'proven' ? outcome.ports : undefined;
  return outcome.report?.ports ?? earlier ?? [];
}

/**
 * Whether a node is still unproven after its time limit. Also true for an unproven node whose launch time is unknown.
 * @param launchedBefore milliseconds since the epoch
 */
export function isUnproven({ kind, launchedAt }: Outcome, launchedBefore: number): boolean {
  const isOpen = kind === 'pending' || kind === 'failed' || kind === 'needs-reboot';
  return isOpen && (launchedAt === undefined || launchedAt.getTime() < launchedBefore);
}

/** Explains to operators why the node is not proven. */
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

/** @param now milliseconds since the epoch */
export function logOutcomes(outcomes: readonly Outcome[], log: Log, now: number): void {
  for (const outcome of outcomes) {
    const { level, event, fields } = logEntry(outcome, now);
    log[level](event, fields);
  }
}

/** @param now milliseconds since the epoch */
export function logEntry(outcome: Outcome, now: number): LogEntry {
  const { node, cluster } = outcome;
  const { level, event, fields } = entryOf(outcome, now);
  return { level, event, fields: { cloud: node.cloud, node: node.id, cluster, ...fields } };
}

function entryOf(outcome: Outcome, now: number): LogEntry {
  switch (outcome.kind) {
    case 'skipped': {
      const { reason, detail, warnings } = outcome.skip;
      return { level: 'info', event: 'NodeSkipped', fields: { reason, detail, warnings } };
    }
    case 'held': {
      const { detail, warnings } = outcome;
      return { level: 'error', event: 'NodeHeld', fields: { detail, warnings } };
    }
    case 'planned': {
      const { plan, isChange } = outcome;
      return {
        level: 'info',
        event: 'NodePlanned',
        fields: { ruleSet: plan.id, isChange, warnings: plan.warnings },
      };
    }
    case 'proven': {
      const { ruleSetId: ruleSet, report, warnings } = outcome;
      const fields = { ruleSet, report, warnings, secondsToProven: secondsToProven(outcome, now) };
      return { level: 'info', event: 'NodeProven', fields };
    }
    case 'pending': {
      const { reason, retryAfterSeconds: seconds } = outcome;
      return { level: 'info', event: 'NodePending', fields: { reason, retryAfterSeconds: seconds } };
    }
    case 'needs-reboot':
      return { level: 'error', event: 'NodeNeedsReboot', fields: { reason: outcome.reason } };
    case 'failed': {
      const { error, report } = outcome;
      const seconds = retryAfterSeconds(outcome);
      const fields = { ...errorFields(error), report, retryAfterSeconds: seconds };
      return { level: seconds === undefined ? 'error' : 'warn', event: 'NodeFailed', fields };
    }
  }
}

/** Nodes that were launched longer ago than this are no longer joining. */
const joinWindowMs = 3_600_000;

/** Returns the seconds between the launch of a joining node and its proof. Undefined for other nodes. */
function secondsToProven(outcome: Outcome, now: number): number | undefined {
  const age = now - (outcome.launchedAt?.getTime() ?? 0);
  return hasChanged(outcome) && age < joinWindowMs ? Math.max(0, age / 1_000) : undefined;
}

/** Returns the log fields for an error: its code, message and advice, and the error with its causes. */
export function errorFields(error: unknown): Record<string, unknown> {
  const { code, advice } = error instanceof PeermasqError ? error : { code: 'unexpected', advice: undefined };
  return { code, reason: messageOf(error), advice, err: error };
}
