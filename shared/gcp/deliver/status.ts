import type { Deadline, PushRecord, RecordFailure } from '../../core/cloud';
import { latestFormat } from '../../core/model/rule-set';
import { definedOnly } from '../../core/util/collections';
import { callWithAttempts, mapLimited } from '../client/call';
import type { Clients } from '../client/clients';
import { toPeermasqError } from '../client/errors';
import type { Instance } from '../discover/networks';
import type { GcpNode } from '../discover/nodes';
import {
  idPrefix,
  parseStatus,
  startedAt,
  wasRestarted,
  type StatusRecord,
} from '../discover/recorded-status';
import { statusLabel } from '../names';

/** Formats a status as a label value. parseStatus (discover/recorded-status.ts) reads it. */
function formatStatus({ state, ruleSet, at, format, code }: StatusRecord): string {
  const parts = [
    state,
    ruleSet,
    Math.floor(at.getTime() / 1_000),
    format === undefined ? undefined : `f${format}`,
    code,
  ];
  return parts.filter((part) => part !== undefined).join('-');
}

/**
 * Records the results of pushes in labels.
 * @returns the nodes whose labels could not be written, including nodes whose labels another writer changed
 */
export async function writeRecords(
  clients: Clients,
  records: readonly PushRecord<GcpNode>[],
  deadline: Deadline,
): Promise<RecordFailure<GcpNode>[]> {
  const failures = await mapLimited(records, async (record): Promise<RecordFailure<GcpNode>[]> => {
    try {
      await writeRecord(clients, record, deadline);
      return [];
    } catch (thrown) {
      const error = toPeermasqError(`label instance ${record.node.name}`, thrown);
      return [{ node: record.node, error }];
    }
  });
  return failures.flat();
}

async function writeRecord(
  clients: Clients,
  { node, state, code, ruleSetId }: PushRecord<GcpNode>,
  deadline: Deadline,
): Promise<void> {
  const { instance } = node;
  // The state `restarted` is kept, so that the node is not restarted again for the same rule set.
  if (state === 'needs-reboot' && wasRestarted(instance)) return;
  const proof =
    state === 'proven' && ruleSetId !== undefined
      ? { ruleSet: idPrefix(ruleSetId), format: latestFormat }
      : undefined;
  const status: StatusRecord = { state, at: new Date(), ...proof, ...definedOnly({ code }) };
  if (!isRecorded(instance, status)) await writeStatus(clients, { node, status }, deadline);
}

function isRecorded(instance: Instance, { state, ruleSet, format, code }: StatusRecord): boolean {
  const current = parseStatus(instance);
  if (current?.state !== state || current.ruleSet !== ruleSet) return false;
  if (current.format !== format || current.code !== code) return false;
  return current.at >= startedAt(instance);
}

interface StatusWrite {
  readonly node: GcpNode;
  readonly status: StatusRecord;
}

export async function writeStatus(
  clients: Clients,
  { node: { ref, name, instance }, status }: StatusWrite,
  deadline: Deadline,
): Promise<void> {
  const { project, zone, id } = ref;
  const instancesSetLabelsRequestResource = {
    labels: { ...instance.labels, [statusLabel]: formatStatus(status) },
    labelFingerprint: instance.labelFingerprint ?? '',
  };
  // The write is attempted only once. If another writer has changed the labels, the next sweep records the result.
  await callWithAttempts({ action: `label instance ${name}`, deadline, attempts: 1 }, async (options) => {
    const client = await clients.instances();
    const request = { project, zone, instance: id, instancesSetLabelsRequestResource };
    await client.setLabels(request, options);
  });
}
