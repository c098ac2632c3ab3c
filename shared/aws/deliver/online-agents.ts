import { setImmediate } from 'node:timers/promises';
import { DescribeInstanceInformationCommand } from '@aws-sdk/client-ssm';
import type { Deadline } from '../../core/cloud';
import { chunks } from '../../core/util/collections';
import type { Clients } from '../client/clients';
import { listAll } from '../client/pages';

/** Instances in one page of DescribeInstanceInformation, and values in one filter (SSM API reference). */
const pageLimit = 50;
const filterLimit = 100;

/** Returns the instances among some whose SSM agent is online. */
export type ReadOnlineAgents = (ids: readonly string[], deadline: Deadline) => Promise<ReadonlySet<string>>;

/** Requests at the same time, as for pushes of several rule sets, share one listing. */
export function makeReadOnlineAgents(clients: Clients): ReadOnlineAgents {
  let next: { readonly ids: Set<string>; readonly result: Promise<ReadonlySet<string>> } | undefined;
  return (requested, deadline) => {
    if (!next) {
      const ids = new Set<string>();
      const result = setImmediate().then(() => {
        next = undefined;
        return readOnlineAgents(clients, [...ids], deadline);
      });
      next = { ids, result };
    }
    for (const id of requested) next.ids.add(id);
    return next.result;
  };
}

async function readOnlineAgents(
  { ssm }: Clients,
  ids: readonly string[],
  deadline: Deadline,
): Promise<Set<string>> {
  const online = new Set<string>();
  for (const Values of chunks(ids, filterLimit)) {
    const Filters = [
      { Key: 'InstanceIds', Values },
      { Key: 'PingStatus', Values: ['Online'] },
    ];
    const pages = await listAll('ssm:DescribeInstanceInformation', deadline, (page, options) =>
      ssm.send(new DescribeInstanceInformationCommand({ Filters, MaxResults: pageLimit, ...page }), options),
    );
    for (const { InstanceId } of pages.flatMap((page) => page.InstanceInformationList ?? [])) {
      if (InstanceId !== undefined) online.add(InstanceId);
    }
  }
  return online;
}
