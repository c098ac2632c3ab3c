import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { messageOf, RetryableError } from './errors';

/** What shows a node's rules to whoever is on it. */
export const snapshotCommand = 'sudo bash /var/lib/peermasq/peermasq.sh snapshot';
/** Where the program is not there. */
export const manualSnapshotCommand = 'sudo iptables-save; ip -o addr; ip route; ip rule';
/** What is done with that. */
export const explainCommand = 'npx peermasq explain --rules FILE --from POD --to HOST:PORT';

/** One part of what a node shows of itself, as `peermasq.sh snapshot --part N` prints it. */
export interface SnapshotPart {
  /** From 0. */
  readonly number: number;
  readonly count: number;
  /** Of all parts together, by which those of one snapshot know each other. */
  readonly sha256: string;
  readonly text: string;
}

const partPattern =
  /^part (?<number>\d{1,3}) of (?<count>\d{1,3}) sha256 (?<sha256>[0-9a-f]{64})\n(?<text>[A-Za-z0-9+/=]+)\s*$/;

/** Undefined for what is no part, or was cut off before its text began. */
export function parsePart(printed: string): SnapshotPart | undefined {
  const { number, count, sha256 = '', text = '' } = partPattern.exec(printed)?.groups ?? {};
  return number === undefined ? undefined : { number: Number(number), count: Number(count), sha256, text };
}

const emptyPart: SnapshotPart = { number: 0, count: 0, sha256: '', text: '' };
/** As the node program takes care of. */
const partsLimit = 100;
/** Some 20 times of what the parts hold when packed. */
const snapshotLimitBytes = 32 << 20;

/**
 * The snapshot that the parts are of.
 * @param parts all, in any order
 * @throws RetryableError where one is missing, damaged, or of another snapshot
 */
export function joinParts(parts: readonly SnapshotPart[]): string {
  const { count, sha256 } = parts[0] ?? emptyPart;
  const inOrder = parts.toSorted((a, b) => a.number - b.number);
  const isComplete =
    count <= partsLimit &&
    parts.length === count &&
    inOrder.every((part, i) => part.number === i && part.sha256 === sha256);
  const packed = inOrder.map(({ text }) => text).join('');
  if (!isComplete || createHash('sha256').update(packed).digest('hex') !== sha256)
    throw damagedSnapshot('parts are missing');
  try {
    return gunzipSync(Buffer.from(packed, 'base64'), { maxOutputLength: snapshotLimitBytes }).toString();
  } catch (cause) {
    throw damagedSnapshot(messageOf(cause), cause);
  }
}

const damagedSnapshot = (reason: string, cause?: unknown) =>
  new RetryableError(
    'snapshot-damaged',
    `What the node showed did not arrive whole: ${reason}`,
    'Try again; somebody else may have looked at the node at the same time.',
    5,
    cause,
  );
