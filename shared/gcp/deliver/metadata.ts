import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { PermanentError, RetryableError } from '../../core/model/errors';
import { resetGeneration } from '../../core/reconcile/evaluate-report';
import type { PushRequest } from '../../core/cloud';
import {
  isFromFuture,
  packRuleSet,
  parseRuleSet,
  printRuleSet,
  ruleSetId,
  type RuleSet,
} from '../../core/model/rule-set';
import { memoize, tryParse } from '../../core/util/functional';
import { metadataValue, type MetadataItem } from '../discover/recorded-status';
import {
  guestAttributesKey,
  programKey,
  routesKey,
  ruleSetKey,
  snapshotKey,
  startupScriptKey,
} from '../names';
import { composeStartupScript, originalStartupScript } from './startup-script';

type MetadataItems = readonly MetadataItem[];

/** Values up to this size stay plain text, so that they are readable in the console. Longer values are packed. */
const plainLimitBytes = 32 * 1024;

/** https://cloud.google.com/compute/docs/metadata/setting-custom-metadata#limitations */
const valueLimitBytes = 256 * 1024;
const totalLimitBytes = 512 * 1024;

/**
 * Returns the metadata with this rule set, node program and startup script. Other keys keep their values and their
 * order; an expired snapshot request is removed. Returns the same array if nothing changes.
 * @throws RetryableError if the metadata contains a newer rule set, PermanentError if the metadata would be too large
 */
export function withRuleSet(
  current: MetadataItems,
  { ruleSet, routes, force = false }: PushRequest,
  program: string,
): MetadataItems {
  const valueOf = (key: string) => metadataValue(current, key);
  const wanted = new Map([
    [ruleSetKey, ruleSetValue(valueOf(ruleSetKey), { ruleSet, force })],
    [routesKey, String(routes)],
    [programKey, programValue(program)],
    [startupScriptKey, composeStartupScript(valueOf(startupScriptKey))],
    // If a user has set this key to FALSE, the value is kept, and the node cannot report.
    [guestAttributesKey, valueOf(guestAttributesKey) ?? 'TRUE'],
  ]);
  const others = current.filter((item) => !isExpiredSnapshotRequest(item));
  const isWanted = [...wanted].every(([key, value]) => valueOf(key) === value);
  if (others.length === current.length && isWanted) return current;
  const kept = others.map(({ key, value }) => ({ key, value: wanted.get(key) ?? value }));
  const added = [...wanted]
    .filter(([key]) => valueOf(key) === undefined)
    .map(([key, value]) => ({ key, value }));
  return checkLimits([...kept, ...added]);
}

/**
 * Returns the metadata value for a rule set. If the metadata already contains an equal rule set, it is kept regardless
 * of its generation. With `force`, it is replaced by the newer generation, so that the watcher on the node reapplies
 * the rule set.
 */
function ruleSetValue(
  current: string | undefined,
  { ruleSet, force }: { readonly ruleSet: RuleSet; readonly force: boolean },
): string {
  // An unreadable value, which is damaged or not from peermasq, is replaced.
  const existing = current === undefined ? undefined : tryParse(() => parseRuleSet(current));
  const isEqual = existing !== undefined && ruleSetId(existing) === ruleSetId(ruleSet);
  if (current !== undefined && isEqual && !force) return current;
  if (existing && isFromFuture(existing.generation, ruleSet.generation)) throw clockSkew(existing);
  if (existing && existing.generation >= ruleSet.generation) throw superseded(existing, ruleSet);
  const text = printRuleSet(ruleSet);
  return text.length > plainLimitBytes ? packRuleSet(ruleSet) : text;
}

const superseded = (existing: RuleSet, { generation }: RuleSet) =>
  new RetryableError(
    'superseded',
    `The instance already has a rule set of generation ${existing.generation}, and the new rule set has generation ${generation}`,
    { advice: 'The functions automatically plan the node again.', retryAfterSeconds: 5 },
  );

const clockSkew = ({ generation }: RuleSet) =>
  new PermanentError(
    'clock-skew',
    `The metadata key ${ruleSetKey} has a rule set from ${new Date(generation).toISOString()}, which is in the future, so no current rule set can replace it`,
    {
      advice: `Correct the clock that planned it, then remove ${ruleSetKey} from the metadata of the instance and push again. If the node has applied it, ${resetGeneration}`,
    },
  );

/** Whether the node program and the startup script belong to this version of peermasq. */
export function isCurrentVersion(items: MetadataItems, program: string): boolean {
  const script = metadataValue(items, startupScriptKey);
  return (
    metadataValue(items, programKey) === programValue(program) && script === composeStartupScript(script)
  );
}

const packProgram = memoize((program: string) => gzipSync(program, { level: 9 }).toString('base64'));

/**
 * Returns the metadata value for the node program. The value is packed, because every list of instances contains a copy
 * for each instance.
 */
const programValue = (program: string): string =>
  program.length > plainLimitBytes ? packProgram(program) : program;

/** Whether a push or a seed may have started peermasq's watcher on the node. */
export function hasPeermasqItems(items: MetadataItems): boolean {
  const script = metadataValue(items, startupScriptKey);
  const isOurs = script !== undefined && originalStartupScript(script) !== script;
  return isOurs || items.some(({ key }) => key === programKey || key === ruleSetKey);
}

/**
 * Returns an identifier for a snapshot request. The identifier starts with the time, so that abandoned requests can be
 * removed.
 */
export const snapshotNonce = (): string =>
  Math.floor(Date.now() / 1_000)
    .toString(16)
    .padStart(8, '0') + randomBytes(12).toString('hex');

/** The time after which a snapshot request expires. No command waits that long. */
const snapshotRequestTtlMs = 600_000;

function isExpiredSnapshotRequest({ key, value }: MetadataItem): boolean {
  if (key !== snapshotKey) return false;
  const requestedAt = Number.parseInt(value.slice(0, 8), 16) * 1_000;
  // For a value that is not a nonce, the time is NaN, so the value is treated as expired.
  return !(Math.abs(Date.now() - requestedAt) < snapshotRequestTtlMs);
}

/**
 * Adds a snapshot request, which replaces any earlier one. The node responds through guest attributes, so the change
 * also sets `enable-guest-attributes`, unless the user has already set this key.
 */
export function withSnapshotRequest(current: MetadataItems, nonce: string): MetadataItems {
  const others = current.filter(({ key }) => key !== snapshotKey);
  const isDecided = metadataValue(current, guestAttributesKey) !== undefined;
  const enabled = isDecided ? [] : [{ key: guestAttributesKey, value: 'TRUE' }];
  return checkLimits([...others, ...enabled, { key: snapshotKey, value: nonce }]);
}

/** Removes a request unless a later request has replaced it. Returns the same array if nothing changes. */
export function withoutSnapshotRequest(current: MetadataItems, nonce: string): MetadataItems {
  const isOwn = ({ key, value }: MetadataItem) => key === snapshotKey && value === nonce;
  return current.some(isOwn) ? current.filter((item) => !isOwn(item)) : current;
}

function checkLimits(items: MetadataItems): MetadataItems {
  const sizes = items.map(({ key, value }) => ({ key, bytes: Buffer.byteLength(value) }));
  const tooLarge = sizes.find(({ bytes }) => bytes > valueLimitBytes);
  if (tooLarge) {
    throw metadataTooLarge(`Metadata ${tooLarge.key} would be ${tooLarge.bytes} bytes long`, valueLimitBytes);
  }
  const total = sizes.reduce((sum, { key, bytes }) => sum + key.length + bytes, 0);
  if (total > totalLimitBytes) {
    throw metadataTooLarge(`The instance's metadata would be ${total} bytes long`, totalLimitBytes);
  }
  return items;
}

const metadataTooLarge = (problem: string, limit: number) =>
  new PermanentError('metadata-too-large', `${problem}; Compute Engine's limit is ${limit} bytes`, {
    advice: 'Shorten the startup script, or configure fewer and wider ranges.',
  });
