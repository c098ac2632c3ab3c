import { once } from 'node:events';
import { deliverEvent, type LabFunction } from '../gcp/function';
import { insertVm, type Insert } from '../gcp/insert';
import { metadataOf } from '../gcp/state';
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
import { installedRules, findProven } from './node-status';
import type { DemoCloud, NodeResult, Race, Print } from './scenario';

/** The delays of an insert, which takes a few seconds as in the real cloud. */
const insertTimes = { visibleAfterMs: 1_000, readyAfterMs: 500, stagingAfterMs: 500, runningAfterMs: 1_000 };

/** Opens a scenario in which a node is inserted and the function must set the metadata before the node boots. */
export async function openGcp(networks: Networks): Promise<DemoCloud> {
  const project = await openProject(networks);
  try {
    const joined = await project.start('nodeJoined');
    let insert: Insert | undefined;
    return {
      node: node.name,
      peermasq: project.peermasq,
      sendEvent: async (print) => {
        if (insert) return send(project, joined, await insert.last, 'last', print);
        insert = insertVm(project.cloud, node, insertTimes);
        return sendFirstEntry(project, joined, insert, print);
      },
      close: () => project.close(),
    };
  } catch (error) {
    await project.close();
    throw error;
  }
}

/** Sends the first audit log entry of the insert, while the VM is being created and boots. */
async function sendFirstEntry(
  project: DemoProject,
  joined: LabFunction,
  insert: Insert,
  print: Print,
): Promise<NodeResult> {
  await serveMetadata(project, insert.vm);
  const race = measureRace(project, insert, print);
  const [nodeResult, times] = await Promise.all([send(project, joined, insert.first, 'first', print), race]);
  return { ...nodeResult, race: times };
}

async function send(
  project: DemoProject,
  joined: LabFunction,
  event: Record<string, unknown>,
  entry: 'first' | 'last',
  print: Print,
): Promise<NodeResult> {
  const sentAt = Date.now();
  const [calls, logged] = [project.cloud.calls.length, joined.log.length];
  print('event', `${entry} audit log entry of the insert of ${node.name}, through the log sink`);
  const status = await deliverEvent(joined, event);
  const log = joined.log.slice(logged);
  if (status >= 300) throw new Error(`The function responded with ${status}:\n${jsonLines(log)}`);
  return {
    ...findProven(log, sentAt),
    discovery: discovery(project, calls),
    rules: await installedRules(project.networks.node),
  };
}

/** Measures whether the metadata was set before the node read it at boot. */
async function measureRace(project: DemoProject, { vm, beganAt, last }: Insert, print: Print): Promise<Race> {
  const metadataSet = (async () => {
    while (metadataOf(vm, 'startup-script') === undefined) await once(project.cloud.changes, 'change');
    return Date.now() - beganAt;
  })();
  await last;
  const scriptRanMs = (await boot(project, print)) - beganAt;
  return { metadataSetMs: await metadataSet, scriptRanMs };
}
