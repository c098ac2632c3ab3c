import * as z from 'zod';
import type { Networks } from '../networks';
import { discovery, openAccount, type DemoAccount } from './aws-event';
import { installedRules } from './node-status';
import type { DemoCloud, NodeResult, Print } from './scenario';

/** Opens a scenario in which a node existed before peermasq was deployed and is fixed from the command line. */
export async function openAwsManualBackfill(networks: Networks): Promise<DemoCloud> {
  const account = await openAccount(networks, { state: 'running' });
  const { id, peermasq, close } = account;
  return { isExistingNode: true, node: id, peermasq, close, sendEvent: (print) => backfill(account, print) };
}

const status = z.object({ nodes: z.tuple([z.object({ state: z.literal('proven'), ruleSet: z.string() })]) });

async function backfill({ aws, networks, peermasq }: DemoAccount, print: Print): Promise<NodeResult> {
  const [calls, beganAt] = [aws.calls.length, Date.now()];
  const { status: code, stdout, stderr } = await peermasq(['backfill', '--yes']);
  if (code !== 0) throw new Error(`peermasq backfill exited with ${code ?? 'a signal'}:\n${stderr}`);
  print('$ backfill', `--yes\n${stdout.trimEnd()}`);
  const eventToProvenMs = Date.now() - beganAt;
  const { nodes } = status.parse(JSON.parse((await peermasq(['status', '-o', 'json'])).stdout));
  return {
    eventToProvenMs,
    ruleset: nodes[0].ruleSet,
    discovery: discovery(aws, calls),
    rules: await installedRules(networks.node),
  };
}
