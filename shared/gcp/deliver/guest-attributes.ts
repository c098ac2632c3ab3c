import { PermanentError } from '../../core/model/errors';
import type { GcpNodeRef } from '../../core/model/node';
import type { Deadline } from '../../core/cloud';
import { parseReport, type Report } from '../../core/model/report';
import { callOptions, type Clients } from '../client/clients';
import { undefinedIfNotFound, call } from '../client/errors';
import { metadataItems, type Instance } from '../discover/instance';
import { isReportingDisabled, type MetadataItem } from './metadata';

/** What the node program last wrote to its guest attribute `peermasq/status`. */
export type ReportState =
  | { readonly kind: 'report'; readonly report: Report }
  | { readonly kind: 'none' }
  /** Whether it wrote one cannot be told. */
  | { readonly kind: 'unreadable'; readonly reason: string };

/** @throws PermanentError | RetryableError when Google Cloud does not answer the question. */
export async function readReport(
  clients: Clients,
  ref: GcpNodeRef,
  instance: Instance,
  deadline: Deadline,
): Promise<ReportState> {
  if (isReportingDisabled(metadataItems(instance))) {
    const reason = 'its metadata turns guest attributes off (enable-guest-attributes), so it cannot report';
    return { kind: 'unreadable', reason };
  }
  try {
    const items = await readGuestAttributes(clients, ref, 'peermasq/', deadline);
    const text = items.find(({ key }) => key === 'status')?.value;
    return text ? { kind: 'report', report: parseReport(text) } : { kind: 'none' };
  } catch (thrown) {
    if (thrown instanceof PermanentError && reasons.has(thrown.code)) {
      return { kind: 'unreadable', reason: thrown.message };
    }
    throw thrown;
  }
}

/**
 * Guest attributes may be forbidden by a policy (compute.disableGuestAttributesAccess), and everything on the
 * node can write nonsense there: neither is a reason to stop.
 */
const reasons = new Set(['policy', 'unreadable-report']);

/** What the node wrote under a path; nothing where it wrote nothing, or does not exist. */
export async function readGuestAttributes(
  clients: Clients,
  { project, zone, id: instance }: GcpNodeRef,
  queryPath: `${string}/`,
  deadline: Deadline,
): Promise<MetadataItem[]> {
  const attributes = await undefinedIfNotFound(
    call(`read the guest attributes of instance ${instance}`, deadline, async () => {
      const client = await clients.instances();
      const request = { project, zone, instance, queryPath };
      const [found] = await client.getGuestAttributes(request, callOptions(deadline));
      return found;
    }),
  );
  return (attributes?.queryValue?.items ?? []).map(({ key, value }) => ({
    key: key ?? '',
    value: value ?? '',
  }));
}
