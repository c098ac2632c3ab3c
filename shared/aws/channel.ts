import { CreateTagsCommand } from '@aws-sdk/client-ec2';
import type { PeermasqError } from '../core/errors';
import type { Node } from '../core/node';
import type { Channel, Deadline } from '../core/ports';
import type { Report } from '../core/report';
import { call, chunks, withoutMissing, type Clients } from './clients';
import { documentName, ruleSetTag, statusTag } from './names';
import { printStatus } from './nodes';
import { proofs } from './proofs';
import { push } from './push';

export interface ChannelOptions {
  readonly stage: string;
  /** Before the first look at a command's results, and half as much again before each further one. */
  readonly firstLookMs?: number;
}

export function makeChannel(clients: Clients, { stage, firstLookMs = 1_500 }: ChannelOptions): Channel {
  const document = documentName(stage);
  return {
    push: (ruleSet, nodes, deadline) => push(clients, document, ruleSet, nodes, deadline),
    proofs: (pushed, deadline) => proofs(clients, pushed, firstLookMs, deadline),
    remember: (reports, deadline) => remember(clients, reports, deadline),
  };
}

async function remember(
  { ec2 }: Clients,
  reports: readonly { readonly node: Node; readonly report: Report }[],
  deadline: Deadline,
): Promise<readonly { readonly node: Node; readonly error: PeermasqError }[]> {
  const now = new Date();
  const groups = new Map<string, { tags: { Key: string; Value: string }[]; ids: string[] }>();
  for (const { node, report } of reports) {
    const tags = [
      ...(report.id === null ? [] : [{ Key: ruleSetTag, Value: report.id }]),
      { Key: statusTag, Value: printStatus(report.proven, now) },
    ];
    const key = JSON.stringify(tags);
    const group = groups.get(key) ?? { tags, ids: [] };
    group.ids.push(node.ref.id);
    groups.set(key, group);
  }
  for (const { tags, ids } of groups.values()) {
    for (const some of chunks(ids, resourcesLimit)) {
      await withoutMissing(some, (Resources) =>
        call('ec2:CreateTags', deadline, (options) =>
          ec2.send(new CreateTagsCommand({ Resources, Tags: tags }), options),
        ),
      );
    }
  }
  return [];
}

/** Resources in one CreateTags (EC2 API reference). */
const resourcesLimit = 1_000;
