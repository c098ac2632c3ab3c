import { join } from 'node:path';
import type { Networks } from '../lab/networks';

const connections = 20_000;

/**
 * Returns new connections per second of CPU time, from the pod to the peer: with one bare rule, and with our rules. Both
 * kinds of rules are applied in turn, so that the load of the machine affects them equally.
 */
export async function timeNewConnections(
  { nodeHost, podHost }: Networks,
  rounds: number,
  apply: { readonly bare: () => Promise<unknown>; readonly ours: () => Promise<unknown> },
): Promise<{ readonly bare: number[]; readonly ours: number[] }> {
  const sender = join(__dirname, '../node/send-from-ports.pl');
  const send = async () => {
    await nodeHost.run(['conntrack', '-F']);
    const script = `TIMEFORMAT='%3U %3S'; { time perl ${sender} 10.193.0.3 9 ${connections}; } 2>&1 | tail -n 1`;
    const printed = await podHost.run(['bash', '-c', script], { timeoutMs: 120_000 });
    const [user = NaN, system = NaN] = printed.trim().split(' ').map(Number);
    return Math.round(connections / (user + system));
  };
  const measured = { bare: [] as number[], ours: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    await nodeHost.run(['bash', '-c', 'nft flush ruleset; ipset destroy']);
    await apply.bare();
    measured.bare.push(await send());
    await nodeHost.run(['bash', '-c', 'nft flush ruleset; ipset destroy']);
    await apply.ours();
    measured.ours.push(await send());
  }
  return measured;
}
