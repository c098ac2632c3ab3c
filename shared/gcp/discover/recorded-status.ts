import { PermanentError } from '../../core/model/errors';
import type { GcpNodeRef, Node } from '../../core/model/node';
import type { Deadline } from '../../core/cloud';
import type { LastPush } from '../../core/model/recorded-state';
import { formatReadBy, parseReport, type Report } from '../../core/model/report';
import { isFromFuture, latestFormat, parseRuleSet, ruleSetId, type RuleSet } from '../../core/model/rule-set';
import { definedOnly } from '../../core/util/collections';
import { tryParse } from '../../core/util/functional';
import { call } from '../client/call';
import type { Clients } from '../client/clients';
import { undefinedIfNotFound } from '../client/errors';
import { guestAttributesKey, reportKey, reportPath, routesKey, ruleSetKey, statusLabel } from '../names';
import type { Instance } from './networks';

export interface MetadataItem {
  readonly key: string;
  readonly value: string;
}

export const metadataItems = ({ metadata }: Instance): MetadataItem[] =>
  (metadata?.items ?? []).map(({ key, value }) => ({ key: key ?? '', value: value ?? '' }));

export const metadataValue = (items: readonly MetadataItem[], key: string): string | undefined =>
  items.find((item) => item.key === key)?.value;

/** The rule set in the metadata of an instance. */
export interface AssignedRuleSet {
  readonly ruleSetId: string;
  /** The time at which the rule set was planned. */
  readonly at: Date;
  readonly routes?: number;
}

/** Returns undefined if there is no readable rule set. */
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

/** The parsed value of the status label. */
export interface StatusRecord {
  readonly state: 'proven' | 'failed' | 'needs-reboot' | 'restarted';
  /** The first characters of the proven rule set's id. */
  readonly ruleSet?: string;
  readonly at: Date;
  /** The latest rule set format at the time when the proof was recorded. A proof of an earlier format covers less. */
  readonly format?: number;
  readonly code?: LastPush['code'];
}

const statusPattern =
  /^(?<state>proven|failed|needs-reboot|restarted)(?:-(?<ruleSet>[0-9a-f]{12}))?-(?<time>\d{9,11})(?:-f(?<format>\d{1,2}))?(?:-(?<code>clock-skew))?$/;

/** Label values have at most 63 characters, so the label contains only the start of the id. */
const idPrefixLength = 12;

export const idPrefix = (id: string): string => id.slice(0, idPrefixLength);

/** Returns undefined for a label value in another format. */
export function parseStatus({ labels }: Instance): StatusRecord | undefined {
  const { state, ruleSet, time, format, code } =
    statusPattern.exec(labels?.[statusLabel] ?? '')?.groups ?? {};
  if (state === undefined) return undefined;
  const at = new Date(Number(time) * 1_000);
  return definedOnly({
    state: state as StatusRecord['state'],
    at,
    ruleSet,
    format: format === undefined ? undefined : Number(format),
    code: code as StatusRecord['code'],
  });
}

/**
 * Returns when the assigned rule set was recorded as proven. Undefined if the proof is older than the assignment or
 * the last start.
 */
export function provenAt(instance: Instance, assigned: AssignedRuleSet): Date | undefined {
  const status = parseStatus(instance);
  if (status?.state !== 'proven' || status.ruleSet !== idPrefix(assigned.ruleSetId)) return undefined;
  if ((status.format ?? 1) < latestFormat) return undefined;
  const isCurrent = isAtOrAfter(status.at, assigned.at) && isAtOrAfter(status.at, startedAt(instance));
  return isCurrent ? status.at : undefined;
}

/** Returns the result of the last push. Undefined if the instance has been started since that push. */
export function lastPushOf(instance: Instance): Node['lastPush'] | undefined {
  const status = parseStatus(instance);
  if (!status || status.state === 'restarted' || !isAtOrAfter(status.at, startedAt(instance)))
    return undefined;
  return definedOnly({ state: status.state, at: status.at, code: status.code });
}

/** Whether `at` is not before `date`. Labels contain whole seconds, so the comparison ignores milliseconds. */
const isAtOrAfter = (at: Date, date: Date): boolean =>
  at.getTime() >= Math.floor(date.getTime() / 1_000) * 1_000;

/**
 * The time after which a restart that is not visible may not have happened, because the process that requested it was
 * killed.
 */
const restartVisibleWithinMs = 1_800_000;

/**
 * Returns the time of the last start, or of the last restart by peermasq. Google does not document whether a reset
 * changes `lastStartTimestamp`. Returns the epoch if Compute Engine reports no start.
 */
export function startedAt(instance: Instance): Date {
  const reported = Date.parse(instance.lastStartTimestamp ?? '') || 0;
  const restarted = restartedAt(instance);
  const isRecent = Date.now() - restarted < restartVisibleWithinMs;
  return new Date(isRecent ? Math.max(reported, restarted) : reported);
}

/** Whether the instance was already restarted for its assigned rule set. Another restart would not help. */
export function wasRestarted(instance: Instance): boolean {
  const restarted = restartedAt(instance);
  const assignedAt = assignedRuleSetIn(metadataItems(instance))?.at.getTime() ?? 0;
  return restarted > 0 && restarted >= assignedAt;
}

function restartedAt(instance: Instance): number {
  const status = parseStatus(instance);
  return status?.state === 'restarted' ? status.at.getTime() : 0;
}

/** The last report that the node program wrote to its guest attribute. */
export type ReportState =
  | { readonly kind: 'report'; readonly report: Report }
  | { readonly kind: 'none' }
  /** The report could not be read, so it is unknown whether the node has reported. */
  | { readonly kind: 'unreadable'; readonly reason: string };

/** @throws PermanentError | RetryableError if the call fails */
export async function readReport(
  clients: Clients,
  { ref, instance }: { readonly ref: GcpNodeRef; readonly instance: Instance },
  deadline: Deadline,
): Promise<ReportState> {
  if (isReportingDisabled(metadataItems(instance))) {
    const reason = `its metadata disables guest attributes (${guestAttributesKey}), so it cannot report`;
    return { kind: 'unreadable', reason };
  }
  try {
    const items = await readGuestAttributes(clients, { ref, path: reportPath }, deadline);
    const text = metadataValue(items, reportKey);
    return text ? { kind: 'report', report: parseReport(text) } : { kind: 'none' };
  } catch (thrown) {
    if (thrown instanceof PermanentError && unreadableCodes.has(thrown.code)) {
      return { kind: 'unreadable', reason: thrown.message };
    }
    throw thrown;
  }
}

/**
 * The errors that make a report unreadable. A policy may forbid guest attributes
 * (compute.disableGuestAttributesAccess), and every program on the node can write to them.
 */
const unreadableCodes = new Set(['policy', 'unreadable-report']);

/** Whether the user has disabled guest attributes. If so, peermasq does not enable them, and the node cannot report. */
export function isReportingDisabled(items: readonly MetadataItem[]): boolean {
  const value = metadataValue(items, guestAttributesKey);
  return value !== undefined && value.toUpperCase() !== 'TRUE';
}

interface GuestAttributes {
  readonly ref: GcpNodeRef;
  readonly path: `${string}/`;
}

/** Returns an empty list if the node has written nothing or does not exist. */
export async function readGuestAttributes(
  clients: Clients,
  { ref: { project, zone, id: instance }, path: queryPath }: GuestAttributes,
  deadline: Deadline,
): Promise<MetadataItem[]> {
  const attributes = await undefinedIfNotFound(
    call(`read the guest attributes of instance ${instance}`, deadline, async (options) => {
      const client = await clients.instances();
      return (await client.getGuestAttributes({ project, zone, instance, queryPath }, options))[0];
    }),
  );
  return (attributes?.queryValue?.items ?? []).map(({ key, value }) => ({
    key: key ?? '',
    value: value ?? '',
  }));
}

/** The tolerance for the node's clock, which may be wrong until it is synchronized. */
const clockSkewMs = 120_000;

/**
 * Whether a report is from the current boot. Guest attributes survive a reboot, but rules do not. A report without a
 * boot time is assumed to be current.
 */
export function isFromCurrentBoot(report: Report, instance: Instance): boolean {
  if (report.booted === undefined || isPlannedSinceStart(report, instance)) return true;
  return report.booted * 1_000 >= startedAt(instance).getTime() - clockSkewMs;
}

/** Whether a report proves everything that this version of peermasq requires. */
export const isProof = (report: Report): boolean => report.proven && formatReadBy(report) >= latestFormat;

/**
 * Whether the rule set was planned after the last start. If so, it was also applied after that start, whatever the
 * node's clock showed.
 */
export function isPlannedSinceStart({ generation }: Report, instance: Instance): boolean {
  const started = startedAt(instance).getTime();
  const planned = generation ?? 0;
  return started > 0 && planned >= started && !isFromFuture(planned, Date.now());
}
