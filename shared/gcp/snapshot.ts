import { PermanentError, RetryableError, withAdvice } from '../core/model/errors';
import {
  explainCommand,
  joinParts,
  manualSnapshotCommand,
  parsePart,
  snapshotCommand,
  type SnapshotPart,
} from '../core/model/snapshot-parts';
import { nodeKey, type NodeKey } from '../core/model/node';
import { errorFields } from '../core/reconcile/outcome';
import type { Deadline, Inspection } from '../core/cloud';
import type { Log } from '../core/log';
import { ruleSetId, type RuleSet } from '../core/model/rule-set';
import { poll } from '../core/util/poll';
import type { Clients } from './client/clients';
import { toPeermasqError } from './client/errors';
import { waitForOperation } from './client/operations';
import {
  hasPeermasqItems,
  snapshotNonce,
  withoutSnapshotRequest,
  withSnapshotRequest,
} from './deliver/metadata';
import { reportPolling } from './deliver/proofs';
import { writeMetadata, type MetadataChange } from './deliver/push';
import {
  isReportingDisabled,
  metadataItems,
  readGuestAttributes,
  ruleSetIn,
} from './discover/recorded-status';
import { readInstance, type GcpNode } from './discover/nodes';
import { guestAttributesKey, snapshotKey, snapshotPath } from './names';
import { gcloud } from './reach/fix-command';

/**
 * Returns the operations for operators, which use the operator's credentials (docs/cli.md, Permissions).
 * @param log receives a warning if a snapshot request could not be removed
 */
export function makeInspection(clients: Clients, log: Log): Inspection<GcpNode> {
  return {
    async takeSnapshot({ ref, name }, deadline, signal) {
      // The instance is omitted, because the snapshot request changes it.
      const node = { ref, name };
      try {
        return await takeSnapshot({ clients, log, node, deadline, signal });
      } catch (thrown) {
        signal?.throwIfAborted();
        throw withAdvice(toPeermasqError(`take a snapshot of ${name}`, thrown), manualAdvice(node));
      }
    },
    getRuleSetsInForce: (nodes) => Promise.resolve(ruleSetsInForce(nodes)),
  };
}

type Target = Pick<GcpNode, 'ref' | 'name'>;

interface SnapshotRequest {
  readonly clients: Clients;
  readonly log: Log;
  readonly node: Target;
  readonly deadline: Deadline;
  readonly signal: AbortSignal | undefined;
}

/** Time that is reserved for removing the request. */
const reserveMs = 10_000;

/**
 * Takes a snapshot. Google Cloud has no API that runs a command on a VM, so a nonce in the VM's metadata requests the
 * snapshot. The watcher responds to a new nonce, and removes its response when the nonce is gone (shared/node/src,
 * `follow_snapshot_request`).
 */
async function takeSnapshot(request: SnapshotRequest): Promise<string> {
  const { clients, node, deadline, signal } = request;
  const instance = await readInstance(clients, node.ref, deadline);
  const items = instance ? metadataItems(instance) : [];
  if (isReportingDisabled(items)) throw reportingDisabled(node);
  signal?.throwIfAborted();
  const nonce = snapshotNonce();
  const change: MetadataChange = (current) => withSnapshotRequest(current, nonce);
  try {
    const written = await writeMetadata(clients, { node, change }, deadline);
    if (written) {
      const write = { ref: node.ref, operation: written.operation };
      await waitForOperation(clients, write, deadline - reserveMs);
    }
    const wasPushed = hasPeermasqItems(items);
    const parts = await awaitParts(request, nonce, wasPushed ? maxWaitMs : maxWaitWithoutPushMs);
    if (parts) return joinParts(parts);
    throw wasPushed ? noAnswer(node) : noWatcher(node);
  } finally {
    await removeRequest(request, nonce);
  }
}

/**
 * Removes the request. If that fails, the error is only logged, so that it does not hide the result of the snapshot.
 */
async function removeRequest(
  { clients, log, node, deadline }: SnapshotRequest,
  nonce: string,
): Promise<void> {
  const change: MetadataChange = (current) => withoutSnapshotRequest(current, nonce);
  try {
    await writeMetadata(clients, { node, change }, Math.max(deadline, Date.now() + reserveMs / 2));
  } catch (thrown) {
    const fields = errorFields(toPeermasqError(`write the metadata of ${node.name}`, thrown));
    const reason = `${snapshotKey} stays in the metadata until the next push: ${String(fields['reason'])}`;
    log.warn('RecordFailed', { cloud: 'gcp', node: node.ref.id, ...fields, reason });
  }
}

/**
 * The maximum time to wait for a response. A watcher responds within seconds. After a failure, it may take up to 16
 * seconds longer.
 */
const maxWaitMs = 45_000;
/**
 * The maximum time to wait for a node that never received a push. A DaemonSet or a seed in the project may have
 * installed a watcher on the node.
 */
const maxWaitWithoutPushMs = 10_000;

/** Returns undefined if the node does not respond in time. */
function awaitParts(
  { clients, node: { ref }, deadline, signal }: SnapshotRequest,
  nonce: string,
  waitMs: number,
): Promise<readonly SnapshotPart[] | undefined> {
  const readParts = async () => {
    const items = await readGuestAttributes(clients, { ref, path: snapshotPath }, deadline);
    const parts = items.flatMap(({ value }) =>
      value.startsWith(`${nonce} `) ? (parsePart(value.slice(nonce.length + 1)) ?? []) : [],
    );
    return parts.length > 0 && parts.length === parts[0]?.count ? parts : undefined;
  };
  const pollDeadline = Math.min(deadline - reserveMs, Date.now() + waitMs);
  return poll(readParts, { ...reportPolling, deadline: pollDeadline, signal });
}

const noAnswer = ({ name }: Target) =>
  new RetryableError('no-answer', `${name} does not respond: no watcher on the node follows its metadata`, {
    advice:
      'If a rule set was pushed to the node, the node responds after its next boot. Check peermasq-watch.service on the node.',
    retryAfterSeconds: 60,
  });

const noWatcher = ({ name, ref }: Target) =>
  new PermanentError(
    'no-answer',
    `${name} does not respond: it never received a push, and no other watcher follows its metadata`,
    { advice: `A push installs the watcher: npx peermasq backfill --node ${ref.id}.` },
  );

const reportingDisabled = ({ name }: Target) =>
  new PermanentError('no-answer', `${name} cannot respond: its metadata disables guest attributes`, {
    advice: `Set ${guestAttributesKey} to TRUE.`,
  });

function manualAdvice({ ref: { project, zone }, name }: Target): string {
  const ssh = gcloud('ssh', name, '--zone', zone, '--project', project, '--command');
  return `Manually: ${ssh} '${snapshotCommand}' > FILE (without the node program: ${ssh} '${manualSnapshotCommand}' > FILE). Then run ${explainCommand}`;
}

/** Returns the rule sets in the nodes' metadata that are also recorded as in force. */
function ruleSetsInForce(nodes: readonly GcpNode[]): ReadonlyMap<NodeKey, RuleSet> {
  const entries = nodes.flatMap(({ ref, instance, recorded }): [NodeKey, RuleSet][] => {
    const ruleSet = recorded && ruleSetIn(metadataItems(instance));
    const isInForce = ruleSet !== undefined && ruleSetId(ruleSet) === recorded?.ruleSetId;
    return isInForce ? [[nodeKey(ref), ruleSet]] : [];
  });
  return new Map(entries);
}
