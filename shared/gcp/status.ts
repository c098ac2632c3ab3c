import type { GcpNodeRef } from '../core/node';
import { messageOf } from '../core/errors';
import type { Deadline } from '../core/ports';
import { parseReport, type Report } from '../core/report';
import { callOptions, type Clients } from './clients';
import { orAbsent, retrying } from './errors';

/** What the node program last wrote to its guest attribute `peermasq/status`, or why that cannot be had. */
export type Status =
  { readonly report: Report; readonly reason?: never } | { readonly report?: never; readonly reason: string };

/** @throws PermanentError | RetryableError when Google Cloud does not answer the question. */
export async function readStatus(clients: Clients, ref: GcpNodeRef, deadline: Deadline): Promise<Status> {
  const { project, zone, id: instance } = ref;
  const attributes = await orAbsent(
    retrying(`read the guest attributes of instance ${instance}`, deadline, async () => {
      const client = await clients.instances();
      const request = { project, zone, instance, queryPath: 'peermasq/' };
      const [found] = await client.getGuestAttributes(request, callOptions(deadline));
      return found;
    }),
  );
  const text = attributes?.queryValue?.items?.find(({ key }) => key === 'status')?.value;
  if (!text) return { reason: 'no report yet' };
  try {
    return { report: parseReport(text) };
  } catch (thrown) {
    // Everything on the node can write this attribute, so nonsense in it is not a fault of ours.
    return { reason: messageOf(thrown) };
  }
}
