import { once } from 'node:events';
import { deliver, type RunningFunction } from '../gcp/functions';
import { insertVm, type Insert } from '../gcp/insert';
import { metadataOf } from '../gcp/state';
import type { Networks } from '../networks';
import { boot, jsonLines, lookedUp, node, openProject, serveMetadata, type Project } from './gcp-project';
import { inForce, provenIn } from './node-view';
import type { LocalCloud, Pass, Race, Say } from './scenario';

/** An insert in a cloud takes seconds too. */
const insertTimes = { visibleAfterMs: 1_000, readyAfterMs: 500, stagingAfterMs: 500, runningAfterMs: 1_000 };

/** A node is inserted; the function races its boot. */
export async function openGcp(networks: Networks): Promise<LocalCloud> {
  const project = await openProject(networks);
  try {
    const joined = await project.start('nodeJoined');
    let insert: Insert | undefined;
    return {
      node: node.name,
      peermasq: project.peermasq,
      sendEvent: async (say) => {
        if (insert) return send(project, joined, await insert.last, 'last', say);
        insert = insertVm(project.cloud, node, insertTimes);
        return joins(project, joined, insert, say);
      },
      close: () => project.close(),
    };
  } catch (error) {
    await project.close();
    throw error;
  }
}

/** The first entry of the insert, while the VM is made and boots. */
async function joins(project: Project, joined: RunningFunction, insert: Insert, say: Say): Promise<Pass> {
  await serveMetadata(project, insert.vm);
  const race = raceOf(project, insert, say);
  const [pass, times] = await Promise.all([send(project, joined, insert.first, 'first', say), race]);
  return { ...pass, race: times };
}

async function send(
  project: Project,
  joined: RunningFunction,
  event: Record<string, unknown>,
  entry: 'first' | 'last',
  say: Say,
): Promise<Pass> {
  const sentAt = Date.now();
  const [calls, logged] = [project.cloud.calls.length, joined.log.length];
  say('event', `${entry} audit log entry of the insert of ${node.name}, through the log sink`);
  const status = await deliver(joined, event);
  const log = joined.log.slice(logged);
  if (status >= 300) throw new Error(`The function answered ${status}:\n${jsonLines(log)}`);
  return {
    ...provenIn(log, sentAt),
    lookedUp: lookedUp(project, calls),
    rules: await inForce(project.networks.node),
  };
}

/** Who was first: the metadata or the boot that reads it. */
async function raceOf(project: Project, { vm, beganAt, last }: Insert, say: Say): Promise<Race> {
  const metadataSet = (async () => {
    while (metadataOf(vm, 'startup-script') === undefined) await once(project.cloud.changes, 'change');
    return Date.now() - beganAt;
  })();
  await last;
  const scriptRanMs = (await boot(project, say)) - beganAt;
  return { metadataSetMs: await metadataSet, scriptRanMs };
}
