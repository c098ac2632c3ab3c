import type { Node } from '../core/node';
import type { Deadline, End, Unrecorded } from '../core/ports';
import { callOptions, mapLimited, type Clients } from './clients';
import { retrying, toPeermasqError } from './errors';
import { gcpRef, instanceOf, itemsOf, type Instance } from './instance';
import { handedIn, type Handed } from './metadata';

/** The label that tells later looks, and people, how the last push ended: most nodes need not be asked then. */
export const statusLabel = 'peermasq-status';

interface Status {
  readonly state: End['state'] | 'restarted';
  /** The begin of the id of what is proven. */
  readonly ruleSet?: string;
  readonly at: Date;
}

/** Characters of an id that a label carries: a value has 63 at most. */
const shownLength = 12;

const printed = ({ state, ruleSet, at }: Status): string =>
  [state, ...(ruleSet === undefined ? [] : [ruleSet]), Math.floor(at.getTime() / 1_000)].join('-');

/** Undefined for what is no status of ours. */
export function statusIn({ labels }: Instance): Status | undefined {
  const pattern =
    /^(?<state>proven|failed|needs-reboot|restarted)(?:-(?<ruleSet>[0-9a-f]{12}))?-(?<time>\d{9,11})$/;
  const { state, ruleSet, time } = pattern.exec(labels?.[statusLabel] ?? '')?.groups ?? {};
  if (state === undefined) return undefined;
  const at = new Date(Number(time) * 1_000);
  return { state: state as Status['state'], at, ...(ruleSet !== undefined && { ruleSet }) };
}

/** When a proof of what was handed over was remembered: since then, and since the instance last started. */
export function provenAt(instance: Instance, { ruleSetId, at }: Handed): Date | undefined {
  const status = statusIn(instance);
  if (status?.state !== 'proven' || status.ruleSet !== ruleSetId.slice(0, shownLength)) return undefined;
  return isSince(status.at, at) && isSince(status.at, startedAt(instance)) ? status.at : undefined;
}

/** How the last push ended; undefined since the instance started again, by itself or by us. */
export function lastEndOf(instance: Instance): Node['lastEnd'] | undefined {
  const { state, at } = statusIn(instance) ?? {};
  if (state === undefined || state === 'restarted' || !at) return undefined;
  return isSince(at, startedAt(instance)) ? { state, at } : undefined;
}

/** A label has whole seconds. */
const isSince = (at: Date, date: Date): boolean => at.getTime() >= Math.floor(date.getTime() / 1_000) * 1_000;

/** A restart that has not shown by then may never have happened: the process that began it was killed, say. */
const restartShowsMs = 1_800_000;

/**
 * When it was started last, be it by us: whether `lastStartTimestamp` tells of a reset is not documented. The epoch
 * where Compute Engine does not tell.
 */
export function startedAt(instance: Instance): Date {
  const told = Date.parse(instance.lastStartTimestamp ?? '') || 0;
  const restarted = restartedAt(instance);
  const isRecent = Date.now() - restarted < restartShowsMs;
  return new Date(isRecent ? Math.max(told, restarted) : told);
}

/** Whether it was restarted for what it has been handed: once more would be in vain. */
export function wasRestarted(instance: Instance): boolean {
  return (
    restartedAt(instance) >= (handedIn(itemsOf(instance))?.at.getTime() ?? 0) && restartedAt(instance) > 0
  );
}

function restartedAt(instance: Instance): number {
  const status = statusIn(instance);
  return status?.state === 'restarted' ? status.at.getTime() : 0;
}

/**
 * To be called before a restart: from then on the node has to report again, and is not restarted once more.
 * @param state what became of it: back to `needs-reboot` when it was not restarted after all
 */
export async function mark(
  clients: Clients,
  node: Node,
  instance: Instance,
  state: 'restarted' | 'needs-reboot',
  deadline: Deadline,
): Promise<void> {
  await writeStatus(clients, node, instance, { state, at: new Date() }, deadline);
}

/**
 * Mirrors ends in labels, where those do not say so yet.
 * @returns the nodes whose label could not be written, be it because somebody else wrote labels meanwhile
 */
export async function remember(
  clients: Clients,
  ends: readonly End[],
  deadline: Deadline,
): Promise<Unrecorded[]> {
  const written = await mapLimited(ends, async (end): Promise<Unrecorded[]> => {
    try {
      await writeLabel(clients, end, deadline);
      return [];
    } catch (thrown) {
      const error = toPeermasqError(`label instance ${end.node.name}`, thrown);
      return [{ node: end.node, error }];
    }
  });
  return written.flat();
}

async function writeLabel(
  clients: Clients,
  { node, state, ruleSetId }: End,
  deadline: Deadline,
): Promise<void> {
  const instance = await instanceOf(clients, node, deadline);
  if (!instance) return; // It is gone, and needs no record.
  const ruleSet = state === 'proven' ? ruleSetId?.slice(0, shownLength) : undefined;
  const status = { state, at: new Date(), ...(ruleSet !== undefined && { ruleSet }) };
  // That it was restarted in vain is to be known as long as it is so.
  if (state === 'needs-reboot' && wasRestarted(instance)) return;
  if (!isSaid(instance, status)) await writeStatus(clients, node, instance, status, deadline);
}

async function writeStatus(
  clients: Clients,
  node: Node,
  instance: Instance,
  status: Status,
  deadline: Deadline,
): Promise<void> {
  const { project, zone, id } = gcpRef(node);
  const labels = { ...instance.labels, [statusLabel]: printed(status) };
  await retrying(
    `label instance ${node.name}`,
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

function isSaid(instance: Instance, { state, ruleSet }: Status): boolean {
  const said = statusIn(instance);
  return said?.state === state && said.ruleSet === ruleSet && said.at >= startedAt(instance);
}
