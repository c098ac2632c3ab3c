import { randomUUID } from 'node:crypto';
import type { Node } from '../core/node';
import type { Deadline, End, Unrecorded } from '../core/ports';
import { callOptions, mapLimited, type Clients } from './clients';
import { retrying, toPeermasqError } from './errors';
import { gcpRef, instanceOf, type Instance } from './instance';

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

/** When a proof of this rule set was remembered, if that was after the instance last started. */
export function provenAt(instance: Instance, ruleSetId: string): Date | undefined {
  const status = statusIn(instance);
  if (status?.state !== 'proven' || status.ruleSet !== ruleSetId.slice(0, shownLength)) return undefined;
  return status.at >= startedAt(instance) ? status.at : undefined;
}

/**
 * When it was started last, be it by us: whether `lastStartTimestamp` tells of a reset is not documented. The epoch
 * where Compute Engine does not tell.
 */
export function startedAt(instance: Instance): Date {
  const told = Date.parse(instance.lastStartTimestamp ?? '') || 0;
  const status = statusIn(instance);
  return new Date(status?.state === 'restarted' ? Math.max(told, status.at.getTime()) : told);
}

/** To be called before a restart: from then on the node has to report again, and is not restarted once more. */
export async function markRestarted(clients: Clients, node: Node, instance: Instance, deadline: Deadline) {
  await writeStatus(clients, node, instance, { state: 'restarted', at: new Date() }, deadline);
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
        requestId: randomUUID(),
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
