import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { startLocalGcp } from '../lab/gcp/cloud';
import { addVm } from '../lab/gcp/state';
import { buildNetworks, type Networks } from '../lab/networks';
import type { RunningProcess } from '../lab/netns';
import { gcpPeering } from '../lab/topologies';
import { nodeProgram, nodeProgramFile } from '../lab/node-program';

/**
 * The cost of `watch` on an idle node. Hourly figures are extrapolated from the measured rounds to 60 rounds per hour.
 */
export interface IdleWatch {
  readonly rounds: number;
  readonly seconds: number;
  /** The CPU time of the watcher and its child processes. */
  readonly cpuSecondsPerHour: number;
  readonly processesPerHour: number;
  /** The peak resident memory of the watcher and its child processes, in megabytes. */
  readonly rssMb: number;
}

const intervalSeconds = 2;
/** The number of measured rounds. It is a multiple of 10, because some work is done only every fifth or tenth round. */
const rounds = 30;
const roundsPerHour = 60;
const ticksPerSecond = 100;

const ruleSet = `peermasq/1
generation 1
source 10.132.0.0/14
exempt 10.132.0.0/14 pods
masquerade 10.193.0.0/16 backend-vpc
`;

/** Measures an idle watcher. A round is shorter than on a real node, but does the same work. */
export async function measureIdleWatch(): Promise<IdleWatch> {
  const [google, networks] = await Promise.all([startLocalGcp(), buildNetworks(gcpPeering)]);
  try {
    const metadata = [
      { key: 'peermasq-ruleset', value: ruleSet },
      { key: 'peermasq-program', value: nodeProgram },
      { key: 'enable-guest-attributes', value: 'TRUE' },
    ];
    const vm = addVm(google.cloud, { metadata });
    const server = await google.metadataServer(vm, { host: networks.managementAddress });
    const watch = startWatch(networks, server.address);
    const countRequests = () => server.requests.filter((request) => request.endsWith('/attributes/')).length;

    // The first rounds are not measured: they apply the rule set and check everything.
    await until(() => countRequests() > 3);
    return await measure(networks, watch, countRequests);
  } finally {
    await networks.close();
    await google.close();
  }
}

/** Starts the watcher in a new process namespace, where the latest process ID shows how many processes were started. */
function startWatch({ nodeHost }: Networks, metadataHost: string): RunningProcess {
  const namespace = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'];
  return nodeHost.spawn([...namespace, 'bash', nodeProgramFile, 'watch'], {
    env: {
      PEERMASQ_DIR: join(nodeHost.folder, 'peermasq'),
      PEERMASQ_PERSIST: '0',
      PEERMASQ_INTERVAL: String(intervalSeconds),
      GCE_METADATA_HOST: metadataHost,
    },
  });
}

async function measure(
  networks: Networks,
  watch: RunningProcess,
  countRequests: () => number,
): Promise<IdleWatch> {
  const [bash = 0] = childrenOf(watch.pid);
  const nextPid = async () => {
    const inside = ['nsenter', '--target', String(bash), '--pid', '--mount', 'sh', '-c', 'echo $$'];
    return Number(await networks.nodeHost.run(inside));
  };
  const [firstPid, firstCpu, firstCount, began] = [
    await nextPid(),
    cpuSeconds(bash),
    countRequests(),
    Date.now(),
  ];
  let rssMb = 0;
  await until(() => {
    rssMb = Math.max(rssMb, residentMb(bash));
    return countRequests() >= firstCount + rounds;
  });
  const perHour = roundsPerHour / rounds;
  const cpu = cpuSeconds(bash) - firstCpu;
  return {
    rounds,
    seconds: (Date.now() - began) / 1_000,
    cpuSecondsPerHour: cpu * perHour,
    // Subtracts the process that reads the next process ID.
    processesPerHour: ((await nextPid()) - firstPid - 1) * perHour,
    rssMb,
  };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 120_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('timed out: watch has stopped requesting the rule set');
    await pause(20);
  }
}

const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);

/** Returns the CPU time of a process and of its reaped children. */
function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // Fields 14 to 17 are utime, stime, cutime and cstime, see proc(5). The second field may contain spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / ticksPerSecond;
}

/** Returns the resident memory of a process, or zero if the process has ended. */
function residentMb(pid: number): number {
  try {
    const [, kb = '0'] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return childrenOf(pid).reduce((sum, child) => sum + residentMb(child), Number(kb) / 1_000);
  } catch {
    return 0;
  }
}
