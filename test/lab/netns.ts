import { execFileSync, spawn as spawnChild } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { definedOnly } from '../../shared/core/util/collections';

/** The result of a program. `code` is null if a signal ended the program. */
export type ProcessResult = {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
};

export type ExecOptions = {
  stdin?: string | Buffer;
  /** Variables to set in addition to the test's own environment. */
  env?: Record<string, string>;
  /**
   * The time in milliseconds after which the process group is killed and the call fails. Defaults to 10,000.
   */
  timeoutMs?: number;
};

/** A background program. If it is still running when the lab closes, it is killed. */
export type RunningProcess = {
  readonly pid: number;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Resolves with the match as soon as stdout or stderr matches the pattern. Fails if the program ends first. */
  readonly output: (pattern: RegExp, timeoutMs?: number) => Promise<RegExpExecArray>;
  readonly ended: Promise<ProcessResult>;
  /** Sends TERM to the process group, then KILL after 2 s, and waits until the program has ended. */
  readonly stop: () => Promise<ProcessResult>;
};

/** A machine in a lab: a network namespace with its own xtables lock, files and mounts. */
export type Host = {
  readonly name: string;
  /** A folder for this machine's files. It is removed together with the lab. */
  readonly folder: string;
  /** The path of the machine's process namespace, if it has one. */
  readonly processes?: string;
  /** Runs a program until it ends and returns the result, regardless of the exit code. */
  readonly exec: (argv: readonly string[], options?: ExecOptions) => Promise<ProcessResult>;
  /** Runs a program like `exec`, but returns stdout and fails on a non-zero exit code. */
  readonly run: (argv: readonly string[], options?: ExecOptions) => Promise<string>;
  /** Starts a program in the background. It is killed when the lab closes. `timeoutMs` is ignored. */
  readonly spawn: (argv: readonly string[], options?: ExecOptions) => RunningProcess;
  /** Bind-mounts `source` at `target` for all programs on this machine. Both paths must exist. */
  readonly mount: (source: string, target: string) => void;
  /** Returns a command that runs the given program on this machine. Any shell in the lab can run the command. */
  readonly argvInside: (argv: readonly string[]) => readonly string[];
  /** Writes one setting under /proc/sys/net, such as `ipv4/ip_forward`. */
  readonly sysctl: (name: string, value: string) => Promise<void>;
};

/** One end of a cable. Addresses have a prefix length, as in `10.209.0.2/16`. */
export type CableEnd = { machine: Host; device: string; addresses?: readonly string[] };

export type MachineOptions = {
  /**
   * Makes the machine a node: its programs see only the processes of the node and its pods. As with a container
   * runtime, /run/netns contains only the handles of the pods' network namespaces.
   */
  isNode?: true | undefined;
  /** Makes the machine a pod on this node. */
  podOf?: Host | undefined;
};

export type Lab = {
  readonly machine: (label: string, options?: MachineOptions) => Promise<Host>;
  /** Adds a veth pair that is up at both ends. */
  readonly addVethPair: (one: CableEnd, other: CableEnd) => Promise<void>;
  /** Adds veth pairs in one batch, which starts fewer processes than adding each pair separately. */
  readonly addVethPairs: (pairs: readonly (readonly [CableEnd, CableEnd])[]) => Promise<void>;
  /** Adds a bridge that is up, with existing devices as its ports. */
  readonly bridge: (end: CableEnd, ports: readonly string[]) => Promise<void>;
  /** Ends all running programs, and removes all namespaces and files. */
  readonly close: () => Promise<void>;
};

const defaultTimeoutMs = 10_000;
/** Multiplies all time limits, for long runs on a busy machine. */
export const timeoutFactor = Number(process.env['PEERMASQ_TIMEOUT_FACTOR'] ?? 1);
const killAfterMs = 2_000;

// Creates machine $1 with folder $2. A process outside the machine's network namespace keeps the mount namespace alive.
// Entering that namespace takes less than half the time of `ip netns exec`, which creates a new mount namespace on each
// call. Every machine has its own xtables lock and /sys, and sees network namespaces that are added later. Its
// /proc/kallsyms does not list this kernel's BPF programs. IPv6 addresses work immediately, because duplicate address
// detection is off.
const makeNamespaces = `
  mount --bind "$2/xtables.lock" /run/xtables.lock
  mount --bind "$2/kallsyms" /proc/kallsyms
  nsenter --net="/run/netns/$1" sh -ec "
    umount --lazy /sys 2>/dev/null || access=ro
    mount -t sysfs -o \\\${access:-rw} sysfs /sys
    ip link set lo up
    echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad"`;

const makeMachine = `
  ip netns add "$1"
  exec unshare --mount --propagation slave sh -ec '${makeNamespaces}
    echo made
    exec sleep infinity' holder "$@"`;

// Process 1 of the namespace exits on TERM, which ends all other processes in the namespace.
const makeNode = `
  ip netns add "$1"
  exec nsenter --net="/run/netns/$1" unshare --mount --pid --fork --mount-proc sh -ec '${makeNamespaces}
    trap "exit 0" TERM
    mount -t tmpfs tmpfs /run/netns
    echo made
    sleep infinity &
    wait' holder "$@"`;

// Makes a pod. The shell prints its process ID in the node's process namespace, and then becomes the process that keeps
// the pod's network namespace alive, like a pause container.
const makePod = `
  ip netns add "$1"
  exec nsenter --pid="$3" unshare --mount sh -ec '${makeNamespaces}
    echo "made $$"
    exec nsenter --net="/run/netns/$1" sleep infinity' holder "$@"`;

const keepHandle = `
  until [ "$(readlink /proc/$1/ns/net)" != "$(readlink /proc/1/ns/net)" ]; do :; done
  touch "/run/netns/$2"
  mount --bind "/proc/$1/ns/net" "/run/netns/$2"`;

/**
 * The last lines of /proc/kallsyms on an EKS node. systemd and the container runtime load BPF programs for cgroups; the
 * program from the container runtime has no name.
 */
export const kernelSymbols = `ffffffffc0a7e2d0 t init_module\t[br_netfilter]
ffffffffc0a2ad14 t bpf_prog_6deef7357e7b4530_sd_fw_egress\t[bpf]
ffffffffc0a2ad4c t bpf_prog_e3dbd137be8d6168_sd_devices\t[bpf]
ffffffffc0a2ae10 t bpf_prog_4bb8d0d7b4b1c6f5\t[bpf]
`;

/** Returns the command for a peer's service (see echo-server.pl). Once ready, it prints `listening on PORT`. */
export const echoServerCommand = (port: number) => ['perl', join(__dirname, 'echo-server.pl'), String(port)];

let labs = 0;

/** Opens a lab. Works only inside test/lab/enter.mjs. Labs can coexist, because their namespaces have unique names. */
export function openLab(): Lab {
  const prefix = `peermasq-${process.pid}-${++labs}`;
  const folder = mkdtempSync(join(tmpdir(), `${prefix}-`));
  const machines: Host[] = [];
  const running = new Set<RunningProcess>();

  async function machine(label: string, options: MachineOptions = {}): Promise<Host> {
    const made = await makeHost({
      name: `${prefix}-${label}`,
      folder: join(folder, label),
      running,
      ...options,
    });
    machines.push(made);
    return made;
  }

  async function close(): Promise<void> {
    await Promise.all([...running].map((program) => program.stop()));
    await run(['ip', '-batch', '-'], { stdin: machines.map(({ name }) => `netns del ${name}\n`).join('') });
    rmSync(folder, { recursive: true, force: true });
  }

  return { machine, addVethPair: (one, other) => addVethPairs([[one, other]]), addVethPairs, bridge, close };
}

type HostRequest = MachineOptions & { name: string; folder: string; running: Set<RunningProcess> };

async function makeHost({ name, folder, running, isNode, podOf }: HostRequest): Promise<Host> {
  mkdirSync(folder, { recursive: true });
  for (const file of ['/run/xtables.lock', join(folder, 'xtables.lock')]) closeSync(openSync(file, 'a'));
  writeFileSync(join(folder, 'kallsyms'), kernelSymbols);
  const spawn = (argv: readonly string[], options?: ExecOptions) => {
    const program = start(argv, options);
    running.add(program);
    void program.ended.then(() => running.delete(program));
    return program;
  };
  const processes = podOf ? podOf.processes : undefined;
  const holder = spawn([
    'sh',
    '-ec',
    makeScript({ isNode, podOf }),
    'lab',
    name,
    folder,
    ...(processes ? [processes] : []),
  ]);
  const [, pid] = await holder.output(/^made ?(\d*)$/m);
  if (podOf && pid !== undefined) await podOf.run(['sh', '-ec', keepHandle, 'lab', pid, `cni-${name}`]);
  const own = isNode ? `/proc/${holder.pid}/ns/pid_for_children` : processes;
  const enter = [
    ...['nsenter', `--net=/run/netns/${name}`, `--mount=/proc/${holder.pid}/ns/mnt`],
    ...(own === undefined ? [] : [`--pid=${own}`]),
  ];
  // The working directory is set explicitly, because entering a mount namespace changes to the root of that
  // namespace.
  const argvInside = (argv: readonly string[]) => [...enter, 'env', `--chdir=${process.cwd()}`, ...argv];

  return {
    name,
    folder,
    ...definedOnly({ processes: own }),
    exec: (argv, options) => exec(argvInside(argv), options),
    run: (argv, options) => run(argvInside(argv), options),
    spawn: (argv, options) => spawn(argvInside(argv), options),
    argvInside,
    mount: (source, target) => {
      const [command, ...args] = argvInside(['mount', '--bind', source, target]);
      if (command !== undefined) execFileSync(command, args);
    },
    sysctl: async (sysctl, value) => {
      await run(argvInside(['tee', `/proc/sys/net/${sysctl}`]), { stdin: value });
    },
  };
}

function makeScript({ isNode, podOf }: MachineOptions): string {
  if (isNode) return makeNode;
  return podOf ? makePod : makeMachine;
}

async function addVethPairs(pairs: readonly (readonly [CableEnd, CableEnd])[]): Promise<void> {
  const links = pairs.map(
    ([one, other]) =>
      `link add ${one.device} netns ${one.machine.name} type veth peer name ${other.device} netns ${other.machine.name}\n`,
  );
  await run(['ip', '-batch', '-'], { stdin: links.join('') });
  const lines = new Map<Host, string[]>();
  for (const end of pairs.flat())
    lines.set(end.machine, [...(lines.get(end.machine) ?? []), ...configured(end)]);
  await Promise.all([...lines].map(([machine, its]) => ip(machine, its)));
}

async function bridge(end: CableEnd, ports: readonly string[]): Promise<void> {
  await ip(end.machine, [
    `link add ${end.device} type bridge forward_delay 0`,
    ...ports.map((port) => `link set ${port} master ${end.device}`),
    ...configured(end),
  ]);
}

const configured = ({ device, addresses = [] }: CableEnd): string[] => [
  `link set ${device} up`,
  ...addresses.map((address) => `addr add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`),
];

/** Runs the lines as `ip` commands in one process. */
async function ip(machine: Host, lines: readonly string[]): Promise<void> {
  await machine.run(['ip', '-batch', '-'], { stdin: `${lines.join('\n')}\n` });
}

async function run(argv: readonly string[], options: ExecOptions = {}): Promise<string> {
  const { code, signal, stdout, stderr } = await exec(argv, options);
  if (code !== 0) {
    throw new Error(`${argv.join(' ')} exited with ${code ?? signal ?? 'nothing'}:\n${stderr}${stdout}`);
  }
  return stdout;
}

async function exec(argv: readonly string[], options: ExecOptions = {}): Promise<ProcessResult> {
  const { timeoutMs = defaultTimeoutMs } = options;
  const program = start(argv, options);
  let isLate = false as boolean;
  const timer = setTimeout(() => {
    isLate = true;
    killGroup(program.pid, 'SIGKILL');
  }, timeoutMs * timeoutFactor);
  const ended = await program.ended.finally(() => {
    clearTimeout(timer);
  });
  if (isLate)
    throw new Error(`${argv.join(' ')} ran for more than ${timeoutMs} ms:\n${ended.stderr}${ended.stdout}`);
  return ended;
}

function start(argv: readonly string[], { stdin = '', env = {} }: ExecOptions = {}): RunningProcess {
  const [command, ...args] = argv;
  if (command === undefined) throw new Error('argv is empty: it must start with a program');
  // The program gets its own process group, so that its children can be killed together with it.
  const child = spawnChild(command, args, { detached: true, env: { ...process.env, ...env } });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  const stdout = () => Buffer.concat(out).toString();
  const stderr = () => Buffer.concat(err).toString();
  const onOutput = new Set<() => void>();
  for (const [stream, chunks] of [[child.stdout, out] as const, [child.stderr, err] as const]) {
    stream.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      for (const check of onOutput) check();
    });
  }
  // The error is ignored, because a program may end without reading its input.
  child.stdin.on('error', () => undefined);
  child.stdin.end(stdin);

  const ended = new Promise<ProcessResult>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      resolve({ code, signal, stdout: stdout(), stderr: stderr() });
    });
  });
  const pid = child.pid ?? 0;

  function output(pattern: RegExp, timeoutMs = defaultTimeoutMs): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const check = () => {
        const match = pattern.exec(stdout()) ?? pattern.exec(stderr());
        if (match)
          finish(() => {
            resolve(match);
          });
      };
      const fail = (why: string) => {
        finish(() => {
          reject(new Error(`${argv.join(' ')}: no ${String(pattern)} ${why}:\n${stderr()}${stdout()}`));
        });
      };
      const finish = (resolveOrReject: () => void) => {
        clearTimeout(timer);
        onOutput.delete(check);
        resolveOrReject();
      };
      const timer = setTimeout(() => {
        fail(`within ${timeoutMs} ms`);
      }, timeoutMs * timeoutFactor);
      onOutput.add(check);
      void ended.then(() => {
        check();
        fail('before it ended');
      });
      check();
    });
  }

  async function stop(): Promise<ProcessResult> {
    killGroup(pid, 'SIGTERM');
    const timer = setTimeout(() => {
      killGroup(pid, 'SIGKILL');
    }, killAfterMs);
    const end = await ended;
    clearTimeout(timer);
    return end;
  }

  return { pid, stdout, stderr, output, ended, stop };
}

function killGroup(pid: number, signal: NodeJS.Signals): void {
  // Process ID 0 would mean the test's own process group.
  if (pid <= 0) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
