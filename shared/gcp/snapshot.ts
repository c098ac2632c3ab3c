import { setTimeout as pause } from 'node:timers/promises';
import { PermanentError, RetryableError, withAdvice } from '../core/model/errors';
import {
  explainCommand,
  joinParts,
  snapshotCommand,
  parsePart,
  manualSnapshotCommand,
  type SnapshotPart,
} from '../core/model/snapshot-parts';
import { nodeKey, type NodeKey } from '../core/model/node';
import { errorFields } from '../core/reconcile/outcome';
import type { Deadline, Inspection, Log } from '../core/cloud';
import { ruleSetId, type RuleSet } from '../core/model/rule-set';
import type { Clients } from './client/clients';
import { toPeermasqError } from './client/errors';
import { metadataItems, readInstance, type GcpNode } from './discover/instance';
import {
  hasPeermasqItems,
  isReportingDisabled,
  snapshotNonce,
  ruleSetIn,
  withSnapshotRequest,
  withoutSnapshotRequest,
} from './deliver/metadata';
import { finish } from './client/operations';
import { firstPauseMs, maxPauseMs } from './deliver/proofs';
import { writeMetadata } from './deliver/push';
import { gcloud } from './reach/fix-command';
import { readGuestAttributes } from './deliver/guest-attributes';

/**
 * Asks with the credentials of whoever runs it (`inspectionPermissions` in permissions.ts).
 * @param log is told what could not be taken back
 */
export function makeInspection(clients: Clients, log: Log): Inspection<GcpNode> {
  return {
    async look({ ref, name }, deadline, signal) {
      // Without the instance that an earlier look-up read: what is written here outdates it.
      const node = { ref, name };
      try {
        return await requestSnapshot({ clients, log, node, deadline, signal });
      } catch (thrown) {
        signal?.throwIfAborted();
        throw withAdvice(toPeermasqError(`look at ${node.name}`, thrown), manualCommand(node));
      }
    },
    getRuleSetsInForce: (nodes) => Promise.resolve(getRuleSetsInForce(nodes)),
  };
}

interface SnapshotRequest {
  readonly clients: Clients;
  readonly log: Log;
  readonly node: Pick<GcpNode, 'ref' | 'name'>;
  readonly deadline: Deadline;
  readonly signal: AbortSignal | undefined;
}

/** Left of the time for taking the question back. */
const reserveMs = 10_000;

/**
 * No command can be run, so the node is asked by its metadata: its watch answers a nonce that it has not seen
 * (shared/node/src, `follow_snapshot_request`), and takes its answer away when the nonce is gone.
 */
async function requestSnapshot(look: SnapshotRequest): Promise<string> {
  const { clients, node, deadline, signal } = look;
  const instance = await readInstance(clients, node.ref, deadline);
  const items = instance ? metadataItems(instance) : [];
  if (isReportingDisabled(items)) throw reportingDisabled(node);
  signal?.throwIfAborted();
  const nonce = snapshotNonce();
  try {
    const written = await writeMetadata(
      clients,
      node,
      (items) => withSnapshotRequest(items, nonce),
      deadline,
    );
    if (written) await finish(clients, node.ref, written.operation, deadline - reserveMs);
    return joinParts(await awaitParts(look, nonce, hasPeermasqItems(items)));
  } finally {
    await withdrawRequest(look, nonce);
  }
}

/** Whether this succeeds or not, what came of the look counts. */
async function withdrawRequest(
  { clients, log, node, deadline }: SnapshotRequest,
  nonce: string,
): Promise<void> {
  const until = Math.max(deadline, Date.now() + reserveMs / 2);
  try {
    await writeMetadata(clients, node, (items) => withoutSnapshotRequest(items, nonce), until);
  } catch (thrown) {
    const fields = errorFields(toPeermasqError(`write the metadata of ${node.name}`, thrown));
    const reason = `peermasq-snapshot stays in the metadata until the next push: ${String(fields['reason'])}`;
    log.warn('RecordFailed', { cloud: 'gcp', node: node.ref.id, ...fields, reason });
  }
}

/** A watch answers within seconds, and within 16 more after trouble. */
const maxWaitMs = 45_000;
/** For a node that was handed nothing: a watch may be there all the same, from a DaemonSet or the project's seed. */
const shortMaxWaitMs = 10_000;

async function awaitParts(
  { clients, node, deadline, signal }: SnapshotRequest,
  nonce: string,
  wasPushed: boolean,
): Promise<readonly SnapshotPart[]> {
  const maxWait = wasPushed ? maxWaitMs : shortMaxWaitMs;
  const until = Math.min(deadline - reserveMs, Date.now() + maxWait);
  for (let wait = firstPauseMs; Date.now() + wait < until; wait = Math.min(wait * 2, maxPauseMs)) {
    await pause(wait, undefined, { signal });
    const items = await readGuestAttributes(clients, node.ref, 'peermasq-snapshot/', deadline);
    const parts = items.flatMap(({ value }) =>
      value.startsWith(`${nonce} `) ? (parsePart(value.slice(nonce.length + 1)) ?? []) : [],
    );
    if (parts.length > 0 && parts.length === parts[0]?.count) return parts;
  }
  throw wasPushed ? noAnswer(node) : noWatcher(node);
}

const noAnswer = ({ name }: Pick<GcpNode, 'name'>) =>
  new RetryableError(
    'no-answer',
    `${name} does not answer: nothing on it follows its metadata`,
    'It does after its next boot, if it was pushed to; look at peermasq-watch.service on it.',
    60,
  );

const noWatcher = ({ name, ref }: Pick<GcpNode, 'ref' | 'name'>) =>
  new PermanentError(
    'no-answer',
    `${name} does not answer: it was never handed anything, and nothing else on it follows its metadata`,
    `A push hands it what does: npx peermasq backfill --node ${ref.id}.`,
  );

const reportingDisabled = ({ name }: Pick<GcpNode, 'name'>) =>
  new PermanentError(
    'no-answer',
    `${name} cannot answer: its metadata turns guest attributes off`,
    'Set enable-guest-attributes to TRUE.',
  );

function manualCommand(node: Pick<GcpNode, 'ref' | 'name'>): string {
  const { project, zone } = node.ref;
  const ssh = gcloud('ssh', node.name, '--zone', zone, '--project', project, '--command');
  return `By hand: ${ssh} '${snapshotCommand}' > FILE, or without the program ${ssh} '${manualSnapshotCommand}' > FILE, then ${explainCommand}`;
}

/** What the metadata hands over, where the record says that the node took it. */
function getRuleSetsInForce(nodes: readonly GcpNode[]): ReadonlyMap<NodeKey, RuleSet> {
  const recorded = nodes.filter((node) => node.recorded);
  return new Map(
    recorded.flatMap(({ ref, instance, recorded: { ruleSetId: id } = {} }): [NodeKey, RuleSet][] => {
      const ruleSet = ruleSetIn(metadataItems(instance));
      return ruleSet && ruleSetId(ruleSet) === id ? [[nodeKey(ref), ruleSet]] : [];
    }),
  );
}
