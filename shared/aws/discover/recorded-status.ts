import type { Node } from '../../core/model/node';
import type { RecordedState } from '../../core/model/recorded-state';
import { latestFormat } from '../../core/model/rule-set';
import { definedOnly } from '../../core/util/collections';
import { ruleSetTag, statusTag } from '../names';

export type Tags = ReadonlyMap<string, string>;

/** The value of the status tag. */
export interface StatusRecord {
  readonly state: 'proven' | 'failed' | 'pushed';
  readonly at: Date;
  /** The first characters of the id of the pushed rule set; only with `pushed`. */
  readonly ruleSet?: string;
  /** How many routes the rule set in force was computed from. */
  readonly routes?: number;
  /** The rule set format of the functions that recorded a proof. An older program proved less. */
  readonly format?: number;
}

const statusPattern =
  /^(?<state>proven|failed|pushed) (?<time>\S+)(?: ruleset=(?<ruleSet>[0-9a-f]{12}))?(?: routes=(?<routes>\d{1,6}))?(?: format=(?<format>\d{1,2}))?$/;

const idPrefixLength = 12;

export const idPrefix = (id: string): string => id.slice(0, idPrefixLength);

/** Undefined for a value in another format. */
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
  });
}

/**
 * The node reports or times out within this time; after that, the push is repeated. A command must start within it too
 * (`TimeoutSeconds`).
 */
export const pushTimeoutMs = 120_000;

/** Whether the same rule set was pushed a moment ago, by any function or user. */
export function isPushInProgress(status: StatusRecord | undefined, ruleSetId: string): boolean {
  if (status?.ruleSet !== idPrefix(ruleSetId)) return false;
  return Math.abs(Date.now() - status.at.getTime()) < pushTimeoutMs;
}

/**
 * The rule set that the tags record. It counts as proven only since this launch: "Launch more like this" copies tags,
 * and a stopped instance has to prove its rules again. An older record still means that rules may be in force.
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

/** How the last push ended. Undefined while it is in progress, and when it was recorded before this launch. */
export function lastPushOf(tags: Tags, launchedAt: Date | undefined): Node['lastPush'] {
  const status = parseStatus(tags);
  if (!status || status.state === 'pushed' || !launchedAt || status.at < launchedAt) return undefined;
  return { state: status.state, at: status.at };
}
