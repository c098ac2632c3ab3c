import * as z from 'zod';
import type { Networks } from '../networks';
import type { LocalCloud } from './scenario';
import type { Screen } from './screen';

const diagnosis = z.object({
  checks: z.array(z.object({ link: z.string(), state: z.string() })),
  broken: z.object({ link: z.string(), cure: z.string().optional() }).nullable(),
  verdict: z.string(),
});

/** Has `peermasq doctor` say what is broken between the pod and the peer. @returns the link, null for none */
export async function askDoctor(
  { topology }: Networks,
  cloud: LocalCloud,
  screen: Screen,
): Promise<string | null> {
  const { node, peer } = topology;
  const args = ['--from', node.pods.pod, '--node', cloud.node, '--to', `${peer.address}:${peer.port}`];
  const { stdout, stderr } = await cloud.peermasq(['doctor', ...args, '-o', 'json']);
  if (stdout === '') throw new Error(`peermasq doctor: ${stderr}`);
  const { checks, broken, verdict } = diagnosis.parse(JSON.parse(stdout));
  screen.say('$ doctor', `--from ${node.pods.pod} --to ${peer.address}:${peer.port}`);
  screen.say('', checks.map(({ link, state }) => `${link} ${state}`).join(' · '));
  if (broken)
    screen.bad('', [verdict, ...(broken.cure === undefined ? [] : [`Mend it: ${broken.cure}`])].join('\n'));
  else screen.good('', verdict);
  return broken?.link ?? null;
}

/** Has `peermasq plan` say what would change. @returns whether anything would */
export async function askPlan(cloud: LocalCloud, screen: Screen): Promise<boolean> {
  const { status, stdout, stderr } = await cloud.peermasq(['plan']);
  if (stdout === '') throw new Error(`peermasq plan: ${stderr}`);
  screen.say('$ plan', stdout.trimEnd());
  return status !== 0;
}
