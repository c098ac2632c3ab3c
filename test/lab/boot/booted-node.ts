import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Machine } from '../machine';
import type { Host, RunningProcess } from '../netns';

/**
 * A complete Debian system on a lab host. It shares only the host's network namespace. `run` runs commands inside the
 * system.
 */
export interface BootedNode extends Machine {
  /** The path of the system's root folder on this machine. It is valid even if the system is not running. */
  readonly disk: string;
  /** Boots the system with empty tables. Resolves when systemd has started all units, including startup scripts. */
  readonly boot: () => Promise<void>;
  /** Shuts the system down, like `systemctl poweroff`. The disk is kept. */
  readonly powerOff: () => Promise<void>;
  /** Returns a unit's journal since the last boot. */
  readonly journal: (unit: string) => Promise<string>;
  /** Returns the ID of the systemd process in this machine's process namespace. */
  readonly leaderPid: () => number;
  readonly close: () => Promise<void>;
}

const bootTimeoutMs = 30_000;

const nspawn = [
  ...['systemd-nspawn', '--quiet', '--boot', '--console=pipe', '--register=no', '--keep-unit'],
  ...['--resolv-conf=off', '--timezone=off', '--link-journal=no', '--capability=CAP_NET_ADMIN'],
];

/**
 * Joins a control group, then runs the given command, which shares only the network with the host. The disk stays
 * visible to this process.
 */
const inGroup = [
  ...['nsenter', `--mount=/proc/${process.pid}/ns/mnt`, 'unshare', '--mount', 'sh', '-ec'],
  `umount --lazy /sys
  mount -t sysfs sysfs /sys
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  echo $$ > "$1/cgroup.procs"
  shift
  exec "$@"`,
  'group',
];

/**
 * Returns a node that can be booted.
 * @param image the folder that `test/lab/boot/image.ts` wrote; it is not changed
 * @param remounts a map from folders to mount options, such as `/etc` → `ro`
 */
export async function makeBootedNode(
  host: Host,
  image: string,
  remounts: Readonly<Record<string, string>> = {},
): Promise<BootedNode> {
  const disk = await makeDisk(host.folder, image);
  await remount(disk, remounts);
  const group = mkdtempSync('/sys/fs/cgroup/peermasq-');
  // The rules that the kubelet and the network plugin set up before peermasq runs.
  const tables = await host.run(['iptables-save']);
  let system: RunningProcess | undefined;
  let pid = 0;

  const leaderPid = () => {
    if (pid === 0) throw new Error('the node is not running');
    return pid;
  };
  const run: Machine['run'] = async (argv, { env = {}, ...options } = {}) => {
    const settings = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    const { code, stdout, stderr } = await host.exec(
      ['nsenter', '--target', String(leaderPid()), '--all', '--', 'env', '-i', path, ...settings, ...argv],
      options,
    );
    return { status: code ?? 128, stdout, stderr };
  };

  async function boot(): Promise<void> {
    await host.run(['sh', '-c', 'nft flush ruleset && conntrack -F 2> /dev/null && iptables-restore'], {
      stdin: tables,
    });
    const started = host.spawn([...inGroup, group, ...nspawn, `--directory=${disk}`]);
    system = started;
    let hasEnded = false as boolean;
    void started.ended.then(() => {
      hasEnded = true;
      [system, pid] = [undefined, 0];
    });
    const deadline = Date.now() + bootTimeoutMs;
    while (!(await hasBooted(started))) {
      if (hasEnded || Date.now() > deadline) {
        throw new Error(`the node has not booted:\n${started.stdout()}${started.stderr()}`);
      }
      await delay(50);
    }
  }

  async function hasBooted({ pid: nspawnPid }: RunningProcess): Promise<boolean> {
    const child = await firstChildOf(nspawnPid);
    if (child === undefined) return false;
    pid = child;
    const wait = ['systemctl', 'is-system-running', '--wait'];
    const { stdout } = await run(wait, { timeoutMs: bootTimeoutMs });
    return /^(running|degraded)$/m.test(stdout);
  }

  async function powerOff(): Promise<void> {
    if (!system) return;
    const { ended } = system;
    await run(['systemctl', 'poweroff']);
    await ended;
  }

  return {
    disk,
    run,
    boot,
    powerOff,
    leaderPid,
    journal: async (unit) => (await run(['journalctl', '--boot', '--output=cat', `--unit=${unit}`])).stdout,
    close: async () => {
      await writeFile(join(group, 'cgroup.kill'), '1');
      await system?.ended;
      await removeGroup(group);
      await sh('umount', '--recursive', disk);
    },
  };
}

const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const sh = (command: string, ...args: string[]) => promisify(execFile)(command, args);

/** Creates the disk as an overlay over the image. The disk is removed together with the lab's namespaces. */
async function makeDisk(folder: string, image: string): Promise<string> {
  const [upper, work, disk] = ['upper', 'work', 'disk'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  for (const each of [upper, work, disk]) mkdirSync(each);
  await sh(
    'mount',
    '-t',
    'overlay',
    'overlay',
    '-o',
    `lowerdir=${image},upperdir=${upper},workdir=${work}`,
    disk,
  );
  return disk;
}

async function remount(disk: string, remounts: Readonly<Record<string, string>>): Promise<void> {
  for (const [folder, options] of Object.entries(remounts)) {
    await sh('mount', '--bind', disk + folder, disk + folder);
    await sh('mount', '-o', `remount,bind,${options}`, disk + folder);
  }
}

async function firstChildOf(pid: number): Promise<number | undefined> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  const [child] = children.split(' ');
  return child ? Number(child) : undefined;
}

/**
 * Removes a control group. This is possible only after its child groups have been removed and its processes reaped.
 */
async function removeGroup(group: string): Promise<void> {
  for (const entry of readdirSync(group, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeGroup(join(group, entry.name));
  }
  const deadline = Date.now() + 2_000;
  for (;;) {
    try {
      rmdirSync(group);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY' || Date.now() > deadline) throw error;
      await delay(20);
    }
  }
}
