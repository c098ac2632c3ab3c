import { isDeepStrictEqual } from 'node:util';
import * as z from 'zod';
import { insertEvent } from '../gcp/events';
import { deliver, type RunningFunction } from '../gcp/functions';
import { addVm, type Vm } from '../gcp/state';
import type { Networks } from '../networks';
import { boot, jsonLines, lookedUp, node, openProject, serveMetadata, type Project } from './gcp-project';
import { inForce, needsRebootIn, provenIn } from './node-view';
import type { LocalCloud, Pass, Say } from './scenario';

const startedAgoMs = 900_000;

/** A node that booted a quarter of an hour ago, before the event came; a backfill may restart it. */
export async function openGcpLate(networks: Networks): Promise<LocalCloud> {
  const project = await openProject(networks, '    restart: {maxUnavailable: 1}\n');
  try {
    const started = new Date(Date.now() - startedAgoMs).toISOString();
    const vm = addVm(project.cloud, { ...node, creationTimestamp: started, lastStartTimestamp: started });
    await serveMetadata(project, vm);
    const [joined, backfill] = await Promise.all([project.start('nodeJoined'), project.start('backfill')]);
    let healed: Pass | undefined;
    return {
      node: node.name,
      peermasq: project.peermasq,
      loseRace: (say) => loseRace(joined, vm, say),
      sendEvent: async (say) => {
        // Once it has a proof, a backfill has nothing to tell of it.
        if (healed) await post(backfill);
        return (healed ??= await restart(project, backfill, vm, say));
      },
      close: () => project.close(),
    };
  } catch (error) {
    await project.close();
    throw error;
  }
}

async function loseRace(joined: RunningFunction, vm: Vm, say: Say): Promise<string> {
  say('event', `the insert of ${vm.name}, through the log sink, a quarter of an hour after the node booted`);
  const status = await deliver(joined, insertEvent(vm, 'last'));
  const words = needsRebootIn(joined.log);
  if (status >= 300 || words === undefined)
    throw new Error(`The function answered ${status}, and no NodeNeedsReboot:\n${jsonLines(joined.log)}`);
  return words;
}

async function restart(project: Project, backfill: RunningFunction, vm: Vm, say: Say): Promise<Pass> {
  const { cloud, networks } = project;
  const [calls, sentAt] = [cloud.calls.length, Date.now()];
  say('backfill', 'POST {} to the backfill function; the config allows a restart: {maxUnavailable: 1}');
  let booting: Promise<void> | undefined;
  const reset = (which: Vm) => {
    if (which === vm) booting = resetNode(project, say);
  };
  cloud.changes.once('reset', reset);
  const log = await post(backfill);
  cloud.changes.off('reset', reset);
  await booting;
  return {
    ...provenIn(log, sentAt),
    lookedUp: lookedUp(project, calls),
    rules: await inForce(networks.node),
  };
}

/**
 * A backfill of everything. @returns what it logged
 * @throws Error with its answer and log when not every node is proven at its end
 */
async function post({ url, log, logged }: RunningFunction): Promise<readonly unknown[]> {
  const before = log.length;
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url, { method: 'POST', headers, body: '{}' });
  const answer: unknown = await response.json();
  // It tells how many calls it took when it has answered.
  await logged((entry) => log.indexOf(entry) >= before && entry['message'] === 'CallsCounted');
  const own = log.slice(before);
  if (isDeepStrictEqual(z.object({ counts: z.unknown() }).safeParse(answer).data?.counts, { proven: 1 }))
    return own;
  throw new Error(`Backfill answered ${response.status} ${JSON.stringify(answer)}:\n${jsonLines(own)}`);
}

async function resetNode(project: Project, say: Say): Promise<void> {
  say('reset', 'the node loses its rules, its flows and its programs, and boots');
  await project.networks.resetNode();
  await boot(project, say);
}
