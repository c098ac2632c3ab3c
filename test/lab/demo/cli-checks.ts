import * as z from 'zod';
import type { Networks } from '../networks';
import type { DemoCloud } from './scenario';
import type { Screen } from './screen';

const diagnosis = z.object({
  checks: z.array(z.object({ name: z.string(), state: z.string() })),
  broken: z.object({ name: z.string(), fix: z.string().optional() }).nullable(),
  verdict: z.string(),
});

/**
 * Runs `peermasq doctor` for a connection from the pod to the peer.
 * @returns the broken check, or null
 */
export async function runDoctor(
  { topology }: Networks,
  cloud: DemoCloud,
  screen: Screen,
): Promise<string | null> {
  const { node, peer } = topology;
  const args = ['--from', node.pods.pod, '--node', cloud.node, '--to', `${peer.address}:${peer.port}`];
  const { stdout, stderr } = await cloud.peermasq(['doctor', ...args, '-o', 'json']);
  if (stdout === '') throw new Error(`peermasq doctor: ${stderr}`);
  const { checks, broken, verdict } = diagnosis.parse(JSON.parse(stdout));
  screen.print('$ doctor', `--from ${node.pods.pod} --to ${peer.address}:${peer.port}`);
  screen.print('', checks.map(({ name, state }) => `${name} ${state}`).join(' · '));
  if (broken)
    screen.bad('', [verdict, ...(broken.fix === undefined ? [] : [`Fix: ${broken.fix}`])].join('\n'));
  else screen.good('', verdict);
  return broken?.name ?? null;
}

/**
 * Runs `peermasq plan`.
 * @returns whether the plan has changes
 */
export async function runPlan(cloud: DemoCloud, screen: Screen): Promise<boolean> {
  const { status, stdout, stderr } = await cloud.peermasq(['plan']);
  if (stdout === '') throw new Error(`peermasq plan: ${stderr}`);
  screen.print('$ plan', stdout.trimEnd());
  return status !== 0;
}
