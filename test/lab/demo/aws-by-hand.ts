import * as z from 'zod';
import type { Networks } from '../networks';
import { lookedUp, openAccount, type Account } from './aws-cloud';
import { inForce } from './node-view';
import type { LocalCloud, Pass, Say } from './scenario';

/** A node that was there before peermasq, and is cured from the command line. */
export async function openAwsByHand(networks: Networks): Promise<LocalCloud> {
  const account = await openAccount(networks, { state: 'running' });
  const { id, peermasq, close } = account;
  return { isOld: true, node: id, peermasq, close, sendEvent: (say) => backfill(account, say) };
}

const status = z.object({ nodes: z.tuple([z.object({ state: z.literal('proven'), ruleSet: z.string() })]) });

async function backfill({ aws, networks, peermasq }: Account, say: Say): Promise<Pass> {
  const [calls, beganAt] = [aws.calls.length, Date.now()];
  const { status: code, stdout, stderr } = await peermasq(['backfill', '--yes']);
  if (code !== 0) throw new Error(`peermasq backfill ended with ${code ?? 'a signal'}:\n${stderr}`);
  say('$ backfill', `--yes\n${stdout.trimEnd()}`);
  const eventToProvenMs = Date.now() - beganAt;
  const { nodes } = status.parse(JSON.parse((await peermasq(['status', '-o', 'json'])).stdout));
  return {
    eventToProvenMs,
    ruleset: nodes[0].ruleSet,
    lookedUp: lookedUp(aws, calls),
    rules: await inForce(networks.node),
  };
}
