import type { Node } from '../../core/model/node';
import { parseRuleSet, ruleSetId, type RuleSet } from '../../core/model/rule-set';
import { definedOnly } from '../../core/util/collections';
import { tryParse } from '../../core/util/try-parse';
import { routesKey, ruleSetKey, statusLabel } from '../names';
import { metadataItems, metadataValue, type Instance, type MetadataItem } from './instance';

/** The rule set in the metadata of an instance. */
export interface AssignedRuleSet {
  readonly ruleSetId: string;
  /** When it was planned. */
  readonly at: Date;
  readonly routes?: number;
}

/** Undefined where there is no readable rule set. */
export function ruleSetIn(items: readonly MetadataItem[]): RuleSet | undefined {
  const text = metadataValue(items, ruleSetKey);
  return text === undefined ? undefined : tryParse(() => parseRuleSet(text));
}

export function assignedRuleSetIn(items: readonly MetadataItem[]): AssignedRuleSet | undefined {
  const ruleSet = ruleSetIn(items);
  if (!ruleSet) return undefined;
  const routes = /^\d{1,6}$/.exec(metadataValue(items, routesKey) ?? '')?.[0];
  return definedOnly({
    ruleSetId: ruleSetId(ruleSet),
    at: new Date(ruleSet.generation),
    routes: routes === undefined ? undefined : Number(routes),
  });
}

/** The value of the status label. */
export interface StatusRecord {
  readonly state: 'proven' | 'failed' | 'needs-reboot' | 'restarted';
  /** The first characters of the id of a proven rule set. */
  readonly ruleSet?: string;
  readonly at: Date;
}

const statusPattern =
  /^(?<state>proven|failed|needs-reboot|restarted)(?:-(?<ruleSet>[0-9a-f]{12}))?-(?<time>\d{9,11})$/;

/** The value of a label has at most 63 characters. */
const idPrefixLength = 12;

export const idPrefix = (id: string): string => id.slice(0, idPrefixLength);

/** Undefined for a value in another format. */
export function parseStatus({ labels }: Instance): StatusRecord | undefined {
  const { state, ruleSet, time } = statusPattern.exec(labels?.[statusLabel] ?? '')?.groups ?? {};
  if (state === undefined) return undefined;
  const at = new Date(Number(time) * 1_000);
  return definedOnly({ state: state as StatusRecord['state'], at, ruleSet });
}

/** When the assigned rule set was recorded as proven; undefined for a proof from before it or from before the last start. */
export function provenAt(instance: Instance, assigned: AssignedRuleSet): Date | undefined {
  const status = parseStatus(instance);
  if (status?.state !== 'proven' || status.ruleSet !== idPrefix(assigned.ruleSetId)) return undefined;
  const isCurrent = isAtOrAfter(status.at, assigned.at) && isAtOrAfter(status.at, startedAt(instance));
  return isCurrent ? status.at : undefined;
}

/** How the last push ended; undefined when the instance was started after it. */
export function lastPushOf(instance: Instance): Node['lastPush'] | undefined {
  const status = parseStatus(instance);
  if (!status || status.state === 'restarted' || !isAtOrAfter(status.at, startedAt(instance)))
    return undefined;
  return { state: status.state, at: status.at };
}

/** A label has whole seconds. */
const isAtOrAfter = (at: Date, date: Date): boolean =>
  at.getTime() >= Math.floor(date.getTime() / 1_000) * 1_000;

/** A restart that is not visible by then may not have happened: the process that started it may have been killed. */
const restartVisibleWithinMs = 1_800_000;

/**
 * The last start, or the last restart by peermasq: whether `lastStartTimestamp` changes with a reset is not documented.
 * The epoch where Compute Engine does not report a start.
 */
export function startedAt(instance: Instance): Date {
  const reported = Date.parse(instance.lastStartTimestamp ?? '') || 0;
  const restarted = restartedAt(instance);
  const isRecent = Date.now() - restarted < restartVisibleWithinMs;
  return new Date(isRecent ? Math.max(reported, restarted) : reported);
}

/** Whether it was already restarted for its assigned rule set: another restart would not help. */
export function wasRestarted(instance: Instance): boolean {
  const restarted = restartedAt(instance);
  const assignedAt = assignedRuleSetIn(metadataItems(instance))?.at.getTime() ?? 0;
  return restarted > 0 && restarted >= assignedAt;
}

function restartedAt(instance: Instance): number {
  const status = parseStatus(instance);
  return status?.state === 'restarted' ? status.at.getTime() : 0;
}
