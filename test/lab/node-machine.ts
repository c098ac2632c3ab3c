import { execFile } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import * as z from 'zod';
import type { Machine } from './machine';
import type { Host } from './netns';

/** Returns a host as a node, on which peermasq keeps its files in the host's folder and does not use systemd. */
export function nodeMachineOn(host: Host): Machine {
  const own = { PEERMASQ_DIR: join(host.folder, 'peermasq'), PEERMASQ_PERSIST: '0' };
  return {
    run: async (argv, { env, ...options } = {}) => {
      const { code, signal, stdout, stderr } = await host.exec(argv, { ...options, env: { ...own, ...env } });
      return { status: code ?? 128 + (signal ? constants.signals[signal] : 0), stdout, stderr };
    },
  };
}

/** Sends TERM to all processes on a host, and KILL to those that are still running a second later. */
export async function killProcesses(host: Host): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    for (const pid of processesIn(host)) end(pid, signal);
    const deadline = Date.now() + 1_000;
    while (Date.now() < deadline && processesIn(host).length > 0) await delay(20);
  }
}

/** Returns the same process IDs as `ip netns pids`, but without starting a process. */
function processesIn(host: Host): number[] {
  const { ino } = statSync(`/run/netns/${host.name}`);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && networkOf(name) === ino)
    .map(Number);
}

/** Returns the inode of a process's network namespace, or undefined if the process has ended. */
function networkOf(pid: string): number | undefined {
  try {
    return statSync(`/proc/${pid}/ns/net`).ino;
  } catch {
    return undefined;
  }
}

function end(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

let vethPairs = 0;

/** Connects the node to this process's network namespace. Returns the address at which the node reaches it. */
export async function connectToTestProcess(node: Host, wanted?: string): Promise<string> {
  const ip = async (...args: string[]) => (await promisify(execFile)('ip', args)).stdout;
  const device = `node${process.pid}-${++vethPairs}`;
  await ip('link', 'add', device, 'type', 'veth', 'peer', 'name', 'mgmt0', 'netns', node.name);
  // Addresses contain the interface index, which is unique here, so labs in different processes do not collide.
  const [{ ifindex }] = z
    .tuple([z.object({ ifindex: z.number() })])
    .parse(JSON.parse(await ip('-j', 'link', 'show', device)));
  const suffix = `${(ifindex >> 8) & 255}.${ifindex & 255}`;
  const [here, there] = [wanted ?? `169.254.${suffix}`, `198.18.${suffix}`];
  await ip('addr', 'add', here, 'peer', there, 'dev', device);
  await ip('link', 'set', device, 'up');
  await node.run(['ip', 'addr', 'add', there, 'peer', here, 'dev', 'mgmt0']);
  await node.run(['ip', 'link', 'set', 'mgmt0', 'up']);
  return here;
}
