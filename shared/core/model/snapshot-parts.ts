import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { messageOf, RetryableError } from './errors';

/** The command that prints the node's rules. It runs on the node. */
export const snapshotCommand = 'sudo bash /var/lib/peermasq/peermasq.sh snapshot';
/** The command that prints the rules of a node on which the node program is not installed. */
export const manualSnapshotCommand = 'sudo iptables-save; ip -o addr; ip route; ip rule';
/** The command that explains the saved output. */
export const explainCommand = 'npx peermasq explain --rules FILE --from POD --to HOST:PORT';

/** One part of a snapshot, as `peermasq.sh snapshot --part N` prints it. */
export interface SnapshotPart {
  /** The number of the part. The first part has number 0. */
  readonly number: number;
  readonly count: number;
  /** The hash of all parts together. Parts with the same hash belong to the same snapshot. */
  readonly sha256: string;
  readonly text: string;
}

const partPattern =
  /^part (?<number>\d{1,3}) of (?<count>\d{1,3}) sha256 (?<sha256>[0-9a-f]{64})\n(?<text>[A-Za-z0-9+/=]+)\s*$/;

/** Returns undefined for any other output, and for a part whose text is truncated. */
export function parsePart(printed: string): SnapshotPart | undefined {
  const { number, count, sha256 = '', text = '' } = partPattern.exec(printed)?.groups ?? {};
  return number === undefined ? undefined : { number: Number(number), count: Number(count), sha256, text };
}

/** The node program has the same limit. */
const partsLimit = 100;
/** The limit for the unpacked snapshot, about 20 times the size of all packed parts. */
const snapshotLimitBytes = 32 << 20;

/**
 * Joins and unpacks the parts of one snapshot.
 * @param parts all parts, in any order
 * @throws RetryableError if a part is missing, damaged or belongs to another snapshot
 */
export function joinParts(parts: readonly SnapshotPart[]): string {
  const sorted = parts.toSorted((a, b) => a.number - b.number);
  const packed = sorted.map(({ text }) => text).join('');
  const [first] = sorted;
  const isComplete =
    first !== undefined &&
    first.count <= partsLimit &&
    sorted.length === first.count &&
    sorted.every((part, index) => part.number === index && part.sha256 === first.sha256) &&
    createHash('sha256').update(packed).digest('hex') === first.sha256;
  if (!isComplete) throw damagedSnapshot('parts are missing');
  try {
    return gunzipSync(Buffer.from(packed, 'base64'), { maxOutputLength: snapshotLimitBytes }).toString();
  } catch (cause) {
    throw damagedSnapshot(messageOf(cause), cause);
  }
}

const damagedSnapshot = (reason: string, cause?: unknown) =>
  new RetryableError('snapshot-damaged', `The snapshot of the node is incomplete: ${reason}`, {
    advice: 'Try again. Another snapshot of the same node may have been running.',
    retryAfterSeconds: 5,
    cause,
  });
