import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type ExecOptions,
  type Host,
  openLab,
  type ProcessResult,
  type RunningProcess,
} from '../../lab/netns';
import { nodeProgramFile } from '../../lab/node-program';

export const backends = ['iptables-nft', 'iptables-legacy', 'nft'] as const;
export type Backend = (typeof backends)[number];

/** The variant of iptables that the other programs on the node use. */
export type IptablesVariant = 'iptables-nft' | 'iptables-legacy';
export const variantBeside = (backend: Backend): IptablesVariant =>
  backend === 'nft' ? 'iptables-nft' : backend;

/** A node without peers: enough to change its tables. */
export interface StressedNode {
  readonly host: Host;
  readonly backend: Backend;
  readonly execute: (args: readonly string[], options?: ExecOptions) => Promise<ProcessResult>;
  /** Starts the node program in a process group of its own. */
  readonly spawn: (args: readonly string[], options?: ExecOptions) => RunningProcess;
  /** Returns the stored rule set without its generation, or undefined. */
  readonly stored: () => string | undefined;
  readonly close: () => Promise<void>;
}

const network = `
  ip link add eth0 type bridge forward_delay 0
  ip link add cbr0 type bridge forward_delay 0
  ip addr add 10.209.0.2/24 dev eth0
  ip addr add fd00:209::2/64 dev eth0
  ip addr add 10.132.0.1/24 dev cbr0
  ip addr add fd00:132::1/64 dev cbr0
  ip link set eth0 up
  ip link set cbr0 up
  ip route add default via 10.209.0.1
  ip -6 route add default via fd00:209::1
  echo 1 | tee /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding >/dev/null`;

export async function openStressedNode(backend: Backend): Promise<StressedNode> {
  const lab = openLab();
  const host = await lab.machine('node');
  try {
    await host.run(['sh', '-ec', network]);
  } catch (error) {
    await lab.close();
    throw error;
  }
  const folder = join(host.folder, 'kept');
  const own = {
    PEERMASQ_DIR: folder,
    PEERMASQ_BACKEND: backend,
    PEERMASQ_PERSIST: '0',
    PEERMASQ_WAIT: '60',
  };
  const argv = (args: readonly string[]) => ['bash', nodeProgramFile, ...args];
  const withOwn = ({ env, ...options }: ExecOptions = {}) => ({
    timeoutMs: 120_000,
    ...options,
    env: { ...own, ...env },
  });
  return {
    host,
    backend,
    execute: (args, options) => host.exec(argv(args), withOwn(options)),
    spawn: (args, options) => host.spawn(argv(args), withOwn(options)),
    stored: () => {
      const file = join(folder, 'ruleset');
      return existsSync(file) ? withoutGeneration(readFileSync(file, 'utf8')) : undefined;
    },
    close: lab.close,
  };
}

/** Returns the lines that determine the effect of a rule set. */
export const withoutGeneration = (ruleset: string) => ruleset.replace(/^generation .*\n/m, '');
