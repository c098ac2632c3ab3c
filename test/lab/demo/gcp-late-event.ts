import { isDeepStrictEqual } from 'node:util';
import * as z from 'zod';
import { insertEvent } from '../gcp/events';
import { deliverEvent, type LabFunction } from '../gcp/function';
import { addVm, type LabVm } from '../gcp/state';
import type { Networks } from '../networks';
import {
  boot,
  jsonLines,
  discovery,
  node,
  openProject,
  serveMetadata,
  type DemoProject,
} from './gcp-project';
import { installedRules, findNeedsReboot, findProven } from './node-status';
import type { DemoCloud, NodeResult, Print } from './scenario';

const startedAgoMs = 900_000;

/**
 * Opens a scenario in which the event arrives 15 minutes after the node booted. A backfill is allowed to restart the
 * node.
 */
export async function openGcpLateEvent(networks: Networks): Promise<DemoCloud> {
  const project = await openProject(networks, '    restart: {maxUnavailable: 1}\n');
  try {
    const started = new Date(Date.now() - startedAgoMs).toISOString();
    const vm = addVm(project.cloud, { ...node, creationTimestamp: started, lastStartTimestamp: started });
    await serveMetadata(project, vm);
    const [joined, backfill] = await Promise.all([project.start('nodeJoined'), project.start('backfill')]);
    let nodeResult: NodeResult | undefined;
    return {
      node: node.name,
      peermasq: project.peermasq,
      sendLateEvent: (print) => sendLateEvent(joined, vm, print),
      sendEvent: async (print) => {
        // Runs the backfill again, because a backfill does not report nodes that were already proven.
        if (nodeResult) await post(backfill);
        return (nodeResult ??= await restart(project, backfill, vm, print));
      },
      close: () => project.close(),
    };
  } catch (error) {
    await project.close();
    throw error;
  }
}

async function sendLateEvent(joined: LabFunction, vm: LabVm, print: Print): Promise<string> {
  print('event', `the insert of ${vm.name}, through the log sink, 15 minutes after the node booted`);
  const status = await deliverEvent(joined, insertEvent(vm, 'last'));
  const reason = findNeedsReboot(joined.log);
  if (status >= 300 || reason === undefined)
    throw new Error(
      `The function responded with ${status}, without NodeNeedsReboot:\n${jsonLines(joined.log)}`,
    );
  return reason;
}

async function restart(
  project: DemoProject,
  backfill: LabFunction,
  vm: LabVm,
  print: Print,
): Promise<NodeResult> {
  const { cloud, networks } = project;
  const [calls, sentAt] = [cloud.calls.length, Date.now()];
  print('backfill', 'POST {} to the backfill function; the config allows a restart: {maxUnavailable: 1}');
  let booting: Promise<void> | undefined;
  const reset = (which: LabVm) => {
    if (which === vm) booting = resetNode(project, print);
  };
  cloud.changes.once('reset', reset);
  const log = await post(backfill);
  cloud.changes.off('reset', reset);
  await booting;
  return {
    ...findProven(log, sentAt),
    discovery: discovery(project, calls),
    rules: await installedRules(networks.node),
  };
}

/**
 * Runs a backfill of all nodes.
 * @returns the function's log
 * @throws Error, with the function's response and log, unless every node is proven
 */
async function post({ url, log, logged }: LabFunction): Promise<readonly unknown[]> {
  const before = log.length;
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url, { method: 'POST', headers, body: '{}' });
  const answer: unknown = await response.json();
  // The function logs its number of API calls only after it has responded.
  await logged((entry) => log.indexOf(entry) >= before && entry['message'] === 'ApiCallsCounted');
  const own = log.slice(before);
  if (isDeepStrictEqual(z.object({ counts: z.unknown() }).safeParse(answer).data?.counts, { proven: 1 }))
    return own;
  throw new Error(`Backfill responded with ${response.status} ${JSON.stringify(answer)}:\n${jsonLines(own)}`);
}

async function resetNode(project: DemoProject, print: Print): Promise<void> {
  print('reset', 'the node loses its rules, its flows and its programs, and boots');
  await project.networks.resetNode();
  await boot(project, print);
}
