import type { Node } from '../../core/model/node';
import type { LastPush, RecordedState } from '../../core/model/recorded-state';
import { latestFormat } from '../../core/model/rule-set';
import { definedOnly } from '../../core/util/collections';
import { ruleSetTag, statusTag } from '../names';

export type Tags = ReadonlyMap<string, string>;

/** The parsed value of the status tag. */
export interface StatusRecord {
  readonly state: 'proven' | 'failed' | 'pushed';
  readonly at: Date;
  /** The first characters of the pushed rule set's id. Only present in state `pushed`. */
  readonly ruleSet?: string;
  /** The number of routes from which the rule set in force was computed. */
  readonly routes?: number;
  /** The latest rule set format at the time when the proof was recorded. A proof of an earlier format covers less. */
  readonly format?: number;
  readonly code?: LastPush['code'];
}

const statusPattern =
  /^(?<state>proven|failed|pushed) (?<time>\S+)(?: ruleset=(?<ruleSet>[0-9a-f]{12}))?(?: routes=(?<routes>\d{1,6}))?(?: format=(?<format>\d{1,2}))?(?: code=(?<code>clock-skew))?$/;

const idPrefixLength = 12;

export const idPrefix = (id: string): string => id.slice(0, idPrefixLength);

/** Returns undefined for a tag value in another format. */
export function parseStatus(tags: Tags): StatusRecord | undefined {
  const { groups = {} } = statusPattern.exec(tags.get(statusTag) ?? '') ?? {};
  const { state, time = '', ruleSet } = groups;
  const count = (text: string | undefined) => (text === undefined ? undefined : Number(text));
  const at = new Date(time);
  if (state === undefined || Number.isNaN(at.getTime())) return undefined;
  return definedOnly({
    state: state as StatusRecord['state'],
    at,
    ruleSet,
    routes: count(groups['routes']),
    format: count(groups['format']),
    code: groups['code'] as StatusRecord['code'],
  });
}

/**
 * The time after which a push may be repeated, because the node has then reported or timed out. It is also the time
 * limit for the start of a command (`TimeoutSeconds`).
 */
export const pushTimeoutMs = 120_000;

/** Whether any function or user pushed the same rule set within the last `pushTimeoutMs`. */
export function isPushInProgress(status: StatusRecord | undefined, ruleSetId: string): boolean {
  if (status?.ruleSet !== idPrefix(ruleSetId)) return false;
  return Math.abs(Date.now() - status.at.getTime()) < pushTimeoutMs;
}

/**
 * Returns the rule set that the tags record. A proof is valid only if it was recorded after the last launch: "Launch
 * more like this" copies tags, and a restarted instance has to prove its rules again. A record from before the launch
 * still means that rules may be in force.
 */
export function recordedOf(tags: Tags, launchedAt: Date | undefined): RecordedState | undefined {
  const ruleSetId = tags.get(ruleSetTag) ?? '';
  if (!/^[0-9a-f]{64}$/.test(ruleSetId)) return undefined;
  const status = parseStatus(tags);
  return definedOnly({
    ruleSetId,
    isProven: isProof(status, launchedAt),
    at: status?.at,
    routes: status?.routes,
  });
}

function isProof(status: StatusRecord | undefined, launchedAt: Date | undefined): boolean {
  if (status?.state !== 'proven' || launchedAt === undefined) return false;
  return status.at >= launchedAt && (status.format ?? 1) >= latestFormat;
}

/**
 * Returns the result of the last push. Undefined while a push is in progress, or if the result was recorded before the
 * last launch.
 */
export function lastPushOf(tags: Tags, launchedAt: Date | undefined): Node['lastPush'] {
  const status = parseStatus(tags);
  if (!status || status.state === 'pushed' || !launchedAt || status.at < launchedAt) return undefined;
  return definedOnly({ state: status.state, at: status.at, code: status.code });
}
