import { setTimeout as delay } from 'node:timers/promises';
import type { SeededRandom } from '../../core/explain/kernel/random';
import type { Host } from '../../lab/netns';
import { foreignRules, type Families } from './kernel-state';
import type { IptablesVariant } from './stressed-node';

/** Another program that keeps changing table nat. It knows which rules it has written. */
interface Writer {
  readonly name: string;
  /** Changes the rules once. Returns whether that succeeded; a real program would retry. */
  readonly write: () => Promise<boolean>;
  /** The chains and rules that must be in the table, in the format of iptables-save. */
  readonly held: () => Record<keyof Families, readonly string[]>;
}

/** Writers that run until they are paused. */
export interface Writers {
  readonly resume: () => void;
  /** Resolves when no writer is writing. */
  readonly pause: () => Promise<void>;
  /** The rules in table nat as they must be. */
  readonly expected: () => Families;
  readonly counts: () => string;
}

const baseChains = [':PREROUTING', ':INPUT', ':OUTPUT', ':POSTROUTING'].map((chain) => `${chain} ACCEPT`);
const kubenet =
  '-A POSTROUTING ! -d 10.0.0.0/8 -m comment --comment "kubenet: SNAT for outbound traffic from cluster" -m addrtype ! --dst-type LOCAL -j MASQUERADE';

export interface WriterContext {
  readonly host: Host;
  readonly variant: IptablesVariant;
  readonly random: SeededRandom;
}

export async function startWriters(context: WriterContext): Promise<Writers> {
  const { host, variant, random } = context;
  await host.run(['sh', '-ec', others]);
  await restore(host, variant, [kubenet]);
  const writers = [makeFelix(context), makeKubeProxy(context), makeMasqAgent(context)];
  const succeeded = new Map(writers.map(({ name }) => [name, 0]));
  let failed = 0;
  let isPaused = false;
  let running: Promise<void>[] = [];

  async function once(writer: Writer): Promise<void> {
    if (await writer.write()) succeeded.set(writer.name, (succeeded.get(writer.name) ?? 0) + 1);
    else failed += 1;
  }
  async function run(writer: Writer): Promise<void> {
    while (!isPaused) {
      await once(writer);
      await delay(random.integerBelow(200));
    }
  }
  // The first rules are written one after the other, so that the order of the jumps is known.
  for (const writer of writers) await once(writer);

  return {
    resume: () => {
      isPaused = false;
      running = writers.map(run);
    },
    pause: async () => {
      isPaused = true;
      await Promise.all(running);
    },
    expected: () => {
      const [felix, proxy, agent] = writers.map(({ held }) => held());
      const all = (family: keyof Families) => [
        ...baseChains,
        ...(felix?.[family] ?? []),
        ...(family === 'v4' ? [kubenet] : []),
        ...(proxy?.[family] ?? []),
        ...(agent?.[family] ?? []),
      ];
      return { v4: foreignRules(all('v4')), v6: foreignRules(all('v6')) };
    },
    counts: () =>
      `${[...succeeded].map(([name, count]) => `${name} ${count}`).join(', ')} writes; ${failed} refused and repeated`,
  };
}

/** What else a node has, and what peermasq must not change. */
const others = `
  nft add table inet other
  nft add chain inet other post '{ type filter hook postrouting priority 0; }'
  nft add rule inet other post ip daddr 192.0.2.1 accept
  ipset create other hash:net
  ipset add other 192.0.2.0/24
  ip rule add priority 900 fwmark 0x40000000/0x40000000 lookup main`;

async function restore(host: Host, command: string, lines: readonly string[]): Promise<boolean> {
  const stdin = `*nat\n${lines.join('\n')}\nCOMMIT\n`;
  const { code } = await host.exec([`${command}-restore`, '-w', '5', '--noflush'], {
    stdin,
    timeoutMs: 60_000,
  });
  return code === 0;
}

/** kube-proxy in iptables mode: writes all its chains at once, and deletes the chains of Services that are gone. */
function makeKubeProxy({ host, variant, random }: WriterContext): Writer {
  const jump = '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING';
  const held: Record<keyof Families, string[]> = { v4: [], v6: [] };
  const chainsOf = (lines: readonly string[]) => lines.filter((line) => line.startsWith(':'));
  const rulesOf = (family: keyof Families) => {
    const services = Array.from({ length: 5 + random.integerBelow(20) }, () => random.integerBelow(200));
    const addressOf = (i: number) => (family === 'v4' ? `10.135.240.${i}/32` : `fd00:135::1:${i}/128`);
    return [
      ':KUBE-POSTROUTING - [0:0]',
      ':KUBE-SERVICES - [0:0]',
      ...[...new Set(services)].flatMap((i) => [
        `:KUBE-SVC-${i} - [0:0]`,
        `-A KUBE-SERVICES -d ${addressOf(i)} -p tcp -m comment --comment "default/s${i} cluster IP" -m tcp --dport 443 -j KUBE-SVC-${i}`,
        `-A KUBE-SVC-${i} -m comment --comment "default/s${i} -> ${random.integerBelow(1000)}" -j RETURN`,
      ]),
      '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
      '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
    ];
  };
  return {
    name: 'kube-proxy',
    write: async () => {
      const family = held.v4.length > 0 && random.chance(0.3) ? 'v6' : 'v4';
      const old = chainsOf(held[family]).map((line) => line.split(' ')[0]?.slice(1) ?? '');
      const lines = rulesOf(family);
      const isGone = (name: string) => !lines.includes(`:${name} - [0:0]`);
      const gone = old.filter(isGone);
      const command = family === 'v4' ? variant : variant.replace('ip', 'ip6');
      const sorted = [...chainsOf(lines), ...gone.map((name) => `:${name} - [0:0]`)];
      const isNew = held[family].length === 0;
      const isWritten = await restore(host, command, [
        ...sorted,
        ...lines.filter((line) => !line.startsWith(':')),
        ...(isNew ? [jump] : []),
        ...gone.map((name) => `-X ${name}`),
      ]);
      if (isWritten) held[family] = [...lines, jump];
      return isWritten;
    },
    held: () => held,
  };
}

/** ip-masq-agent: writes its whole chain, and appends its jump if it is missing. */
function makeMasqAgent({ host, variant, random }: WriterContext): Writer {
  const jump =
    '-A POSTROUTING -m comment --comment "ip-masq-agent: ensure nat POSTROUTING" -m addrtype ! --dst-type LOCAL -j IP-MASQ-AGENT';
  let held: string[] = [];
  return {
    name: 'ip-masq-agent',
    write: async () => {
      const cidrs = ['169.254.0.0/16', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10'];
      const lines = [
        ':IP-MASQ-AGENT - [0:0]',
        ...random
          .some(cidrs)
          .map(
            (cidr) =>
              `-A IP-MASQ-AGENT -d ${cidr} -m comment --comment "ip-masq-agent: local traffic is not subject to MASQUERADE" -j RETURN`,
          ),
        '-A IP-MASQ-AGENT -m comment --comment "ip-masq-agent: outbound traffic is subject to MASQUERADE" -j MASQUERADE',
      ];
      const isWritten = await restore(host, variant, [...lines, ...(held.length === 0 ? [jump] : [])]);
      if (isWritten) held = [...lines, jump];
      return isWritten;
    },
    held: () => ({ v4: held, v6: [] }),
  };
}

/** Felix of Calico: writes its chains, and moves its jump to the top whenever another rule is there. */
function makeFelix({ host, variant, random }: WriterContext): Writer {
  const rule = 'POSTROUTING -m comment --comment "cali:O3lYWMrLQYEMJtB5" -j cali-POSTROUTING';
  let held: string[] = [];
  return {
    name: 'Felix',
    write: async () => {
      const { code, stdout } = await host.exec([variant, '-w', '5', '-t', 'nat', '-S', 'POSTROUTING']);
      if (code !== 0) return false;
      const rules = stdout.split('\n').filter((line) => line.startsWith('-A '));
      const position = rules.indexOf(`-A ${rule}`);
      const move = position > 0 ? [`-D ${rule}`] : [];
      const insert = position === 0 ? [] : [`-I ${rule.replace('POSTROUTING', 'POSTROUTING 1')}`];
      const lines = [
        ':cali-POSTROUTING - [0:0]',
        ':cali-nat-outgoing - [0:0]',
        '-A cali-POSTROUTING -m comment --comment "cali:Z-c7XtVd2Bq7s_hA" -j cali-nat-outgoing',
        `-A cali-nat-outgoing -s 192.168.0.0/16 -m comment --comment "cali:${random.integerBelow(1e9)}" -j MASQUERADE`,
      ];
      const isWritten = await restore(host, variant, [...lines, ...move, ...insert]);
      if (isWritten) held = [...lines, `-A ${rule}`];
      return isWritten;
    },
    held: () => ({ v4: held, v6: [] }),
  };
}
