import type { Node } from '../../core/model/node';
import type { Deadline, PushRecord, RecordFailure } from '../../core/cloud';
import { callOptions, mapLimited, type Clients } from '../client/clients';
import { call, toPeermasqError } from '../client/errors';
import { metadataItems, type GcpNode, type Instance } from '../discover/instance';
import { assignedRuleSetIn, type AssignedRuleSet } from './metadata';

/** The label that tells later looks, and people, how the last push ended: most nodes need not be asked then. */
export const statusLabel = 'peermasq-status';

interface StatusRecord {
  readonly state: PushRecord['state'] | 'restarted';
  /** The begin of the id of what is proven. */
  readonly ruleSet?: string;
  readonly at: Date;
}

/** Characters of an id that a label carries: a value has 63 at most. */
const idPrefixLength = 12;

const formatStatus = ({ state, ruleSet, at }: StatusRecord): string =>
  [state, ...(ruleSet === undefined ? [] : [ruleSet]), Math.floor(at.getTime() / 1_000)].join('-');

/** Undefined for what is no status of ours. */
export function parseStatus({ labels }: Instance): StatusRecord | undefined {
  const pattern =
    /^(?<state>proven|failed|needs-reboot|restarted)(?:-(?<ruleSet>[0-9a-f]{12}))?-(?<time>\d{9,11})$/;
  const { state, ruleSet, time } = pattern.exec(labels?.[statusLabel] ?? '')?.groups ?? {};
  if (state === undefined) return undefined;
  const at = new Date(Number(time) * 1_000);
  return { state: state as StatusRecord['state'], at, ...(ruleSet !== undefined && { ruleSet }) };
}

/** When a proof of what was handed over was remembered: since then, and since the instance last started. */
export function provenAt(instance: Instance, { ruleSetId, at }: AssignedRuleSet): Date | undefined {
  const status = parseStatus(instance);
  if (status?.state !== 'proven' || status.ruleSet !== ruleSetId.slice(0, idPrefixLength)) return undefined;
  return isAtOrAfter(status.at, at) && isAtOrAfter(status.at, startedAt(instance)) ? status.at : undefined;
}

/** How the last push ended; undefined since the instance started again, by itself or by us. */
export function lastPushOf(instance: Instance): Node['lastPush'] | undefined {
  const { state, at } = parseStatus(instance) ?? {};
  if (state === undefined || state === 'restarted' || !at) return undefined;
  return isAtOrAfter(at, startedAt(instance)) ? { state, at } : undefined;
}

/** A label has whole seconds. */
const isAtOrAfter = (at: Date, date: Date): boolean =>
  at.getTime() >= Math.floor(date.getTime() / 1_000) * 1_000;

/** A restart that has not shown by then may never have happened: the process that began it was killed, say. */
const restartVisibleWithinMs = 1_800_000;

/**
 * When it was started last, be it by us: whether `lastStartTimestamp` tells of a reset is not documented. The epoch
 * where Compute Engine does not tell.
 */
export function startedAt(instance: Instance): Date {
  const reported = Date.parse(instance.lastStartTimestamp ?? '') || 0;
  const restarted = restartedAt(instance);
  const isRecent = Date.now() - restarted < restartVisibleWithinMs;
  return new Date(isRecent ? Math.max(reported, restarted) : reported);
}

/** Whether it was restarted for what it has been handed: once more would be in vain. */
export function wasRestarted(instance: Instance): boolean {
  return (
    restartedAt(instance) >= (assignedRuleSetIn(metadataItems(instance))?.at.getTime() ?? 0) &&
    restartedAt(instance) > 0
  );
}

function restartedAt(instance: Instance): number {
  const status = parseStatus(instance);
  return status?.state === 'restarted' ? status.at.getTime() : 0;
}

/**
 * To be called before a restart: from then on the node has to report again, and is not restarted once more.
 * @param state what became of it: back to `needs-reboot` when it was not restarted after all
 */
export async function mark(
  clients: Clients,
  node: GcpNode,
  state: 'restarted' | 'needs-reboot',
  deadline: Deadline,
): Promise<void> {
  await writeStatus(clients, node, { state, at: new Date() }, deadline);
}

/**
 * Mirrors ends in labels, where those do not say so yet.
 * @returns the nodes whose label could not be written, be it because somebody else wrote labels meanwhile
 */
export async function writeRecords(
  clients: Clients,
  records: readonly PushRecord<GcpNode>[],
  deadline: Deadline,
): Promise<RecordFailure<GcpNode>[]> {
  const written = await mapLimited(records, async (record): Promise<RecordFailure<GcpNode>[]> => {
    try {
      await writeLabel(clients, record, deadline);
      return [];
    } catch (thrown) {
      const error = toPeermasqError(`label instance ${record.node.name}`, thrown);
      return [{ node: record.node, error }];
    }
  });
  return written.flat();
}

async function writeLabel(
  clients: Clients,
  { node, state, ruleSetId }: PushRecord<GcpNode>,
  deadline: Deadline,
): Promise<void> {
  const { instance } = node;
  const ruleSet = state === 'proven' ? ruleSetId?.slice(0, idPrefixLength) : undefined;
  const status = { state, at: new Date(), ...(ruleSet !== undefined && { ruleSet }) };
  // That it was restarted in vain is to be known as long as it is so.
  if (state === 'needs-reboot' && wasRestarted(instance)) return;
  if (!isAlreadyWritten(instance, status)) await writeStatus(clients, node, status, deadline);
}

async function writeStatus(
  clients: Clients,
  { ref: { project, zone, id }, name, instance }: GcpNode,
  status: StatusRecord,
  deadline: Deadline,
): Promise<void> {
  const labels = { ...instance.labels, [statusLabel]: formatStatus(status) };
  await call(
    `label instance ${name}`,
    deadline,
    async () => {
      const client = await clients.instances();
      const request = {
        project,
        zone,
        instance: id,
        instancesSetLabelsRequestResource: { labels, labelFingerprint: instance.labelFingerprint ?? '' },
      };
      await client.setLabels(request, callOptions(deadline));
    },
    oneAttempt,
  );
}

/** Another writer of labels is not worth a second look at the instance: the next sweep writes this. */
const oneAttempt = 1;

function isAlreadyWritten(instance: Instance, { state, ruleSet }: StatusRecord): boolean {
  const current = parseStatus(instance);
  return current?.state === state && current.ruleSet === ruleSet && current.at >= startedAt(instance);
}
