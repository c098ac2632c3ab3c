import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { PermanentError, RetryableError } from '../../core/model/errors';
import type { PushRequest } from '../../core/cloud';
import { packRuleSet, parseRuleSet, printRuleSet, ruleSetId, type RuleSet } from '../../core/model/rule-set';
import { composeStartupScript, originalStartupScript } from './startup-script';

const ruleSetKey = 'peermasq-ruleset';
/** How many discovered routes the rule set was made from: what a later look is compared with. */
const routesKey = 'peermasq-routes';
const programKey = 'peermasq-program';
const startupScriptKey = 'startup-script';
/** Asks the node for a look. */
const snapshotKey = 'peermasq-snapshot';
const guestAttributesKey = 'enable-guest-attributes';

export interface MetadataItem {
  readonly key: string;
  readonly value: string;
}

/** Above this a value travels packed; below it, it stays readable in the console. */
const plainLimitBytes = 32 * 1024;

/** https://cloud.google.com/compute/docs/metadata/setting-custom-metadata#limitations */
const valueLimitBytes = 256 * 1024;
const totalLimitBytes = 512 * 1024;

/**
 * The metadata that makes an instance follow this rule set; foreign keys stay as they are, and where they
 * are. A question that nobody waits for any more goes. The very same array when nothing has to change.
 * @throws RetryableError when something newer is there · PermanentError when it does not fit
 */
export function withRuleSet(
  current: readonly MetadataItem[],
  { ruleSet, routes, force = false }: PushRequest,
  program: string,
): readonly MetadataItem[] {
  const of = (key: string) => current.find((item) => item.key === key)?.value;
  const wanted = new Map([
    [ruleSetKey, ruleSetValue(of(ruleSetKey), ruleSet, force)],
    [routesKey, String(routes)],
    [programKey, programValue(program)],
    [startupScriptKey, composeStartupScript(of(startupScriptKey))],
    // Somebody's FALSE is a decision: then there are no reports, and the node is called silent.
    [guestAttributesKey, of(guestAttributesKey) ?? 'TRUE'],
  ]);
  const others = current.filter((item) => !isStaleSnapshotRequest(item));
  if (others.length === current.length && [...wanted].every(([key, value]) => of(key) === value))
    return current;
  const kept = others.map(({ key, value }) => ({ key, value: wanted.get(key) ?? value }));
  const added = [...wanted].filter(([key]) => of(key) === undefined).map(([key, value]) => ({ key, value }));
  return checkLimits([...kept, ...added]);
}

/** What a question is known by: it begins with its time, so that one that was left behind can be told. */
export const snapshotNonce = (): string =>
  Math.floor(Date.now() / 1_000)
    .toString(16)
    .padStart(8, '0') + randomBytes(12).toString('hex');

/** Nobody waits that long for an answer. */
const snapshotRequestTtlMs = 600_000;

const isStaleSnapshotRequest = ({ key, value }: MetadataItem): boolean =>
  key === snapshotKey &&
  !(Math.abs(Date.now() - Number.parseInt(value.slice(0, 8), 16) * 1_000) < snapshotRequestTtlMs);

/** Whether something of ours was put here that may have started a watch. */
export function hasPeermasqItems(items: readonly MetadataItem[]): boolean {
  const script = items.find(({ key }) => key === startupScriptKey)?.value;
  const isOurs = script !== undefined && originalStartupScript(script) !== script;
  return isOurs || items.some(({ key }) => key === programKey || key === ruleSetKey);
}

/**
 * Asks for a look; whoever asked before gets no answer any more. Where nobody decided about guest attributes they
 * are turned on, as by a push: without them there is no answer.
 */
export function withSnapshotRequest(
  current: readonly MetadataItem[],
  nonce: string,
): readonly MetadataItem[] {
  const others = current.filter(({ key }) => key !== snapshotKey);
  const isSet = current.some(({ key }) => key === guestAttributesKey);
  const reports = isSet ? [] : [{ key: guestAttributesKey, value: 'TRUE' }];
  return checkLimits([...others, ...reports, { key: snapshotKey, value: nonce }]);
}

/** Takes the question back, unless somebody else has asked since. The very same array when nothing has to change. */
export function withoutSnapshotRequest(
  current: readonly MetadataItem[],
  nonce: string,
): readonly MetadataItem[] {
  const isOurs = ({ key, value }: MetadataItem) => key === snapshotKey && value === nonce;
  return current.some(isOurs) ? current.filter((item) => !isOurs(item)) : current;
}

/** Somebody's decision, which is kept: then nodes cannot report. */
export function isReportingDisabled(items: readonly MetadataItem[]): boolean {
  const value = items.find(({ key }) => key === guestAttributesKey)?.value;
  return value !== undefined && value.toUpperCase() !== 'TRUE';
}

/** What was handed over. */
export interface AssignedRuleSet {
  readonly ruleSetId: string;
  /** When that was planned. */
  readonly at: Date;
  readonly routes?: number;
}

/** The rule set in these items; undefined where there is none that can be read. */
export function ruleSetIn(items: readonly MetadataItem[]): RuleSet | undefined {
  const text = items.find(({ key }) => key === ruleSetKey)?.value;
  return text === undefined ? undefined : tryParseRuleSet(text);
}

/** What these items hand over; undefined where there is no rule set that can be read. */
export function assignedRuleSetIn(items: readonly MetadataItem[]): AssignedRuleSet | undefined {
  const of = (key: string) => items.find((item) => item.key === key)?.value;
  const ruleSet = ruleSetIn(items);
  if (!ruleSet) return undefined;
  const routes = /^\d{1,6}$/.exec(of(routesKey) ?? '')?.[0];
  return {
    ruleSetId: ruleSetId(ruleSet),
    at: new Date(ruleSet.generation),
    ...(routes !== undefined && { routes: Number(routes) }),
  };
}

/**
 * A rule set that is there and says the same is kept, whatever its generation: writing it changes nothing. Unless the
 * node is to look again: a newer generation has its watch apply it once more.
 */
function ruleSetValue(current: string | undefined, ruleSet: RuleSet, force: boolean): string {
  const existing = current === undefined ? undefined : tryParseRuleSet(current);
  const isSame = existing !== undefined && ruleSetId(existing) === ruleSetId(ruleSet);
  if (current !== undefined && isSame && !force) return current;
  if (existing && existing.generation - ruleSet.generation > clockSkewMs) throw generationInFuture(existing);
  if (existing && existing.generation >= ruleSet.generation) {
    throw new RetryableError(
      'superseded',
      `A rule set of generation ${existing.generation} is there; this one is of ${ruleSet.generation}`,
      'The node is planned again.',
      5,
    );
  }
  const text = printRuleSet(ruleSet);
  return text.length > plainLimitBytes ? packRuleSet(ruleSet) : text;
}

/** No two clocks of ours are further apart. */
const clockSkewMs = 3_600_000;

const generationInFuture = ({ generation }: RuleSet) =>
  new PermanentError(
    'generation-in-future',
    `The metadata ${ruleSetKey} has a rule set of ${new Date(generation).toISOString()}, which nothing newer replaces`,
    `Remove ${ruleSetKey} from the metadata of the instance, and run "peermasq.sh remove" on it if it took that.`,
  );

/** Whether these items hand over this program, by this startup script: another version of peermasq brings others. */
export function isCurrentVersion(items: readonly MetadataItem[], program: string): boolean {
  const of = (key: string) => items.find((item) => item.key === key)?.value;
  const script = of(startupScriptKey);
  return of(programKey) === programValue(program) && script === composeStartupScript(script);
}

/** Packed once, for all the nodes of a pass. */
const packed = new Map<string, string>();

/** Every list of instances carries it once for each of them. */
function programValue(program: string): string {
  if (program.length <= plainLimitBytes) return program;
  const value = packed.get(program) ?? gzipSync(program, { level: 9 }).toString('base64');
  packed.set(program, value);
  return value;
}

function tryParseRuleSet(text: string): RuleSet | undefined {
  try {
    return parseRuleSet(text);
  } catch {
    return undefined; // Not one of ours, or damaged: it is written anew.
  }
}

function checkLimits(items: readonly MetadataItem[]): readonly MetadataItem[] {
  const sizes = items.map(({ key, value }) => ({ key, bytes: Buffer.byteLength(value) }));
  const tooLarge = sizes.find(({ bytes }) => bytes > valueLimitBytes);
  const total = sizes.reduce((sum, { key, bytes }) => sum + key.length + bytes, 0);
  if (!tooLarge && total <= totalLimitBytes) return items;
  throw new PermanentError(
    'metadata-too-large',
    tooLarge
      ? `Metadata ${tooLarge.key} would be ${tooLarge.bytes} bytes; Compute Engine takes ${valueLimitBytes}`
      : `The instance's metadata would be ${total} bytes; Compute Engine takes ${totalLimitBytes}`,
    'Make room: shorten the startup script, or masquerade to fewer and wider ranges.',
  );
}
