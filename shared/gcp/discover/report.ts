import { PermanentError } from '../../core/model/errors';
import type { GcpNodeRef } from '../../core/model/node';
import type { Deadline } from '../../core/cloud';
import { parseReport, type Report } from '../../core/model/report';
import { call } from '../client/call';
import type { Clients } from '../client/clients';
import { undefinedIfNotFound } from '../client/errors';
import { guestAttributesKey, reportKey, reportPath } from '../names';
import { metadataItems, metadataValue, type GcpNode, type Instance, type MetadataItem } from './instance';
import { startedAt } from './recorded-status';

/** What the node program last wrote to its guest attribute. */
export type ReportState =
  | { readonly kind: 'report'; readonly report: Report }
  | { readonly kind: 'none' }
  /** It is unknown whether there is a report. */
  | { readonly kind: 'unreadable'; readonly reason: string };

/** @throws PermanentError | RetryableError when the call fails */
export async function readReport(
  clients: Clients,
  { ref, instance }: Pick<GcpNode, 'ref' | 'instance'>,
  deadline: Deadline,
): Promise<ReportState> {
  if (isReportingDisabled(metadataItems(instance))) {
    const reason = `its metadata disables guest attributes (${guestAttributesKey}), so it cannot report`;
    return { kind: 'unreadable', reason };
  }
  try {
    const items = await readGuestAttributes(clients, { ref, path: reportPath }, deadline);
    const text = metadataValue(items, reportKey);
    return text ? { kind: 'report', report: parseReport(text) } : { kind: 'none' };
  } catch (thrown) {
    if (thrown instanceof PermanentError && unreadableCodes.has(thrown.code)) {
      return { kind: 'unreadable', reason: thrown.message };
    }
    throw thrown;
  }
}

/**
 * A policy may forbid guest attributes (compute.disableGuestAttributesAccess), and every program on the node can write
 * to them.
 */
const unreadableCodes = new Set(['policy', 'unreadable-report']);

/** The user disabled guest attributes, which is respected: the node cannot report. */
export function isReportingDisabled(items: readonly MetadataItem[]): boolean {
  const value = metadataValue(items, guestAttributesKey);
  return value !== undefined && value.toUpperCase() !== 'TRUE';
}

interface GuestAttributes {
  readonly ref: GcpNodeRef;
  readonly path: `${string}/`;
}

/** Empty where the node wrote nothing, or does not exist. */
export async function readGuestAttributes(
  clients: Clients,
  { ref: { project, zone, id: instance }, path: queryPath }: GuestAttributes,
  deadline: Deadline,
): Promise<MetadataItem[]> {
  const attributes = await undefinedIfNotFound(
    call(`read the guest attributes of instance ${instance}`, deadline, async (options) => {
      const client = await clients.instances();
      return (await client.getGuestAttributes({ project, zone, instance, queryPath }, options))[0];
    }),
  );
  return (attributes?.queryValue?.items ?? []).map(({ key, value }) => ({
    key: key ?? '',
    value: value ?? '',
  }));
}

/** The clock of a node may be off before it is synchronized. */
const clockSkewMs = 120_000;

/** Guest attributes survive a reboot, and rules do not. A report without the time of the boot counts as current. */
export function isFromCurrentBoot(report: Report, instance: Instance): boolean {
  if (report.booted === undefined || isPlannedSinceStart(report, instance)) return true;
  return report.booted * 1_000 >= startedAt(instance).getTime() - clockSkewMs;
}

/** A rule set that was planned after the start was applied after it, whatever the clock of the node said. */
export function isPlannedSinceStart({ generation }: Report, instance: Instance): boolean {
  const started = startedAt(instance).getTime();
  return started > 0 && (generation ?? 0) >= started;
}
