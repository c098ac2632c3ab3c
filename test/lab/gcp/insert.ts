import { setTimeout as pause } from 'node:timers/promises';
import { insertEvent } from './events';
import { makeVm, type GcpState, type LabVm } from './state';

/** Delays in milliseconds. Each begins when the previous one ends. The default is 0. */
export interface InsertDelays {
  /** The delay from the operation's first audit log entry until the API returns the instance. */
  readonly visibleAfterMs?: number;
  /** The delay until writes are accepted; before that, they fail with resourceNotReady. */
  readonly readyAfterMs?: number;
  readonly stagingAfterMs?: number;
  readonly runningAfterMs?: number;
}

/** An insert in progress. The VM is added to the cloud when it becomes visible. */
export interface Insert {
  readonly vm: LabVm;
  /** The time at which the operation's first audit log entry was written, in milliseconds since the epoch. */
  readonly beganAt: number;
  /** The operation's first audit log entry. */
  readonly first: Record<string, unknown>;
  /** Resolves with the operation's last audit log entry as soon as the VM is running. */
  readonly last: Promise<Record<string, unknown>>;
}

/**
 * Inserts a VM. Its status is first PROVISIONING, then STAGING, then RUNNING. The cloud emits `running` when the VM is
 * running.
 * @param given fields of the VM, except its status
 */
export function insertVm(
  cloud: GcpState,
  given: Partial<Omit<LabVm, 'status' | 'isReady'>> = {},
  times: InsertDelays = {},
): Insert {
  const creationTimestamp = new Date().toISOString();
  const vm = makeVm({ creationTimestamp, ...given, status: 'PROVISIONING', isReady: false });
  cloud.projects[vm.project] ??= { number: '415104041262', metadata: [] };
  return { vm, beganAt: Date.now(), first: insertEvent(vm, 'first'), last: run(cloud, vm, times) };
}

async function run(
  cloud: GcpState,
  vm: LabVm,
  { visibleAfterMs = 0, readyAfterMs = 0, stagingAfterMs = 0, runningAfterMs = 0 }: InsertDelays,
): Promise<Record<string, unknown>> {
  await pause(visibleAfterMs);
  cloud.vms.push(vm);
  await pause(readyAfterMs);
  vm.isReady = true;
  await pause(stagingAfterMs);
  vm.status = 'STAGING';
  await pause(runningAfterMs);
  vm.status = 'RUNNING';
  vm.lastStartTimestamp = new Date().toISOString();
  cloud.changes.emit('running', vm);
  return insertEvent(vm, 'last');
}
