import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { installWatcherCommand } from '../../../shared/core/render/daemonset';
import { metadataOf, setMetadata } from '../gcp/state';
import { makeGcpNode, program, until, type GcpNode } from './gcp-node';

const backend = '10.193.0.0/16';
const elsewhere = '10.7.0.0/16';

// Booting a node takes 2 s, or 10 s on a busy machine.
jest.setTimeout(60_000);

const nodes: GcpNode[] = [];
async function makeNode(remounts?: Readonly<Record<string, string>>): Promise<GcpNode> {
  const node = await makeGcpNode(remounts);
  nodes.push(node);
  return node;
}
afterEach(() => Promise.all(nodes.splice(0).map((node) => node.close())));

/** Returns a node that has booted with its metadata in place and has proven its rules. */
async function makeProvenNode(remounts?: Readonly<Record<string, string>>): Promise<GcpNode> {
  const node = await makeNode(remounts);
  await joinInTime(node);
  return node;
}

async function joinInTime(node: GcpNode): Promise<void> {
  const outcome = node.reconcileNode([backend]);
  await until(() => metadataOf(node.vm, 'startup-script')?.includes('peermasq') === true);
  await node.boot();
  expect(await outcome).toMatchObject({ kind: 'proven' });
}

async function rebootUntilReported(node: GcpNode): Promise<void> {
  const before = node.report()?.booted;
  await node.reboot();
  await until(() => (node.report()?.booted ?? 0) > (before ?? Infinity));
}

const scripts = 'google-startup-scripts';
const isActive = async ({ system }: GcpNode, unit: string): Promise<boolean> =>
  (await system.run(['systemctl', 'is-active', '--quiet', unit])).status === 0;

/** Sets the watcher's interval in seconds (default: 60), as an administrator would. */
function setInterval({ system }: GcpNode, seconds: number): void {
  const folder = join(system.disk, 'etc/systemd/system/peermasq-watch.service.d');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'interval.conf'), `[Service]\nEnvironment=PEERMASQ_INTERVAL=${seconds}\n`);
}

describe("if a node's first boot", () => {
  test('happens after its metadata was set, the node applies and proves the rules, and its pods reach the peer', async () => {
    const node = await makeNode();
    await joinInTime(node);
    expect(await node.destinations()).toEqual([backend]);
    expect(node.report()).toMatchObject({
      result: 'applied',
      proven: true,
      persisted: 'systemd',
      warnings: [],
    });
    expect(await node.networks.pod.request()).toMatchObject({
      reached: true,
      sourceSeenByPeer: '10.209.0.2',
    });
    expect(await isActive(node, 'peermasq-watch')).toBe(true);
  });

  test('happens before its metadata was set, the node is reported as needing a reboot, and the next boot applies the rules', async () => {
    const node = await makeNode();
    await node.boot();
    // Simulates a node that booted 15 minutes ago and got its rule set a minute ago.
    node.vm.lastStartTimestamp = new Date(Date.now() - 900_000).toISOString();
    expect(await node.reconcileNode([backend], { seconds: 6, secondsAgo: 60 })).toMatchObject({
      kind: 'pending',
    });
    expect(await node.reconcileNode([backend], { seconds: 2 })).toMatchObject({
      kind: 'needs-reboot',
      restart: 'advised',
    });

    expect(node.report()).toBeUndefined();
    expect(await isActive(node, 'peermasq-watch')).toBe(false);
    expect(await node.destinations()).toEqual([]);
    expect(await node.networks.pod.request(1_200)).toMatchObject({ reached: false });

    await node.reboot();
    expect(await node.reconcileNode([backend])).toMatchObject({ kind: 'proven' });
    expect(await node.networks.pod.request()).toMatchObject({ reached: true });
  });
});

describe('a reboot of a node', () => {
  test('restores the rules and the watcher, and the report contains the boot time', async () => {
    const node = await makeProvenNode();
    await rebootUntilReported(node);
    expect(node.report()).toMatchObject({ proven: true });
    expect(await node.destinations()).toEqual([backend]);
    expect(await node.reconcileNode([elsewhere])).toMatchObject({ kind: 'proven' });
    expect(await node.destinations()).toEqual([elsewhere]);
  });

  test('restores the stored rules even without a metadata server', async () => {
    const node = await makeProvenNode();
    // These services would wait several minutes for the metadata server.
    const waiting = ['google-guest-agent', 'google-startup-scripts', 'google-shutdown-scripts'];
    await node.system.run(['systemctl', 'disable', '--now', ...waiting]);
    await node.stopMetadataServer();
    await node.reboot();
    expect(await node.destinations()).toEqual([backend]);
    expect(await node.networks.pod.request()).toMatchObject({ reached: true });
  });
});

describe("with peermasq's startup script,", () => {
  test("the instance's own script runs first, unchanged, and keeps its exit code", async () => {
    const node = await makeNode();
    const script = '\n#!/bin/sh\necho "mine, $(cat /var/lib/peermasq/ruleset 2>&1)"\nexit 3\n';
    setMetadata(node.google.cloud, node.vm, 'startup-script', script);
    await joinInTime(node);
    const output = await node.system.journal(scripts);
    expect(output).toMatch(/startup-script: mine, cat: .*No such file/);
    expect(output).toContain('startup-script exit status 3');
  });

  test("the project's script, which the instance's script overrides, also runs and keeps its exit code", async () => {
    const node = await makeNode();
    node.google.cloud.projects[node.vm.project]?.metadata.push({
      key: 'startup-script',
      value: '#!/bin/sh\necho of the project\nexit 4\n',
    });
    await joinInTime(node);
    const output = await node.system.journal(scripts);
    expect(output).toContain('startup-script: of the project');
    expect(output).toContain('startup-script exit status 4');
  });
});

describe('a running node', () => {
  test('applies a changed rule set within 5 s', async () => {
    const node = await makeProvenNode();
    const began = Date.now();
    expect(await node.reconcileNode([elsewhere])).toMatchObject({ kind: 'proven' });
    expect(Date.now() - began).toBeLessThan(5_000);
    expect(await node.destinations()).toEqual([elsewhere]);
  });

  test("repairs flushed rules within the watcher's interval", async () => {
    const node = await makeNode();
    setInterval(node, 3);
    await joinInTime(node);
    await node.system.run(['iptables', '-t', 'nat', '-F']);
    const began = Date.now();
    await until(async () => (await node.destinations()).length > 0);
    expect(Date.now() - began).toBeLessThan(5_000);
  });

  test('keeps its rules while the metadata server is unavailable, and applies metadata changes again afterwards', async () => {
    const node = await makeProvenNode();
    await node.stopMetadataServer();
    setMetadata(
      node.google.cloud,
      node.vm,
      'peermasq-ruleset',
      metadataOf(node.vm, 'peermasq-ruleset')
        ?.replace(backend, elsewhere)
        .replace(/^generation (\d+)$/m, (_, generation) => `generation ${Number(generation) + 1}`),
    );
    await until(
      async () => (await node.system.journal('peermasq-watch')).split('metadata server: HTTP 000').length > 2,
    );
    expect(await node.destinations()).toEqual([backend]);
    expect(await isActive(node, 'peermasq-watch')).toBe(true);
    await node.startMetadataServer();
    await until(
      () =>
        node.report()?.generation ===
        Number(/generation (\d+)/.exec(metadataOf(node.vm, 'peermasq-ruleset') ?? '')?.[1]),
    );
    expect(await node.destinations()).toEqual([elsewhere]);
  });

  test('switches to a newer node program without a reboot when the program in its metadata changes', async () => {
    const node = await makeProvenNode();
    const newer = program.replace('main "$@"\n', '# newer\nmain "$@"\n');
    expect(await node.reconcileNode([elsewhere], { text: newer })).toMatchObject({ kind: 'proven' });
    const installed = join(node.system.disk, 'var/lib/peermasq/peermasq.sh');
    await until(() => readFileSync(installed, 'utf8') === newer);
    expect(await node.reconcileNode([backend], { text: newer })).toMatchObject({ kind: 'proven' });
    expect(await isActive(node, 'peermasq-watch')).toBe(true);
  });

  test('deletes only what peermasq created when `remove` runs', async () => {
    const node = await makeNode();
    const tables = () => node.networks.nodeHost.run(['sh', '-c', 'iptables-save | grep ^-']);
    const before = await tables();
    await joinInTime(node);
    const remove = await node.system.run(['bash', '/var/lib/peermasq/peermasq.sh', 'remove']);
    expect(JSON.parse(remove.stdout)).toMatchObject({ result: 'removed' });
    expect(await tables()).toBe(before);
    const left =
      'find / -xdev -name "*peermasq*" -not -path "/tmp/*"; systemctl list-units --all --no-legend "peermasq*"';
    expect(await node.system.run(['sh', '-c', left])).toMatchObject({ status: 0, stdout: '' });
  });
});

describe('a node like Container-Optimized OS, with /etc read-only and /var noexec', () => {
  const cos = { '/etc': 'ro', '/var': 'noexec' };

  test('is proven at every boot, and reports that only the startup script restores its rules', async () => {
    const node = await makeProvenNode(cos);
    expect(await node.system.run(['touch', '/etc/new'])).toMatchObject({ status: 1 });
    expect(node.report()).toMatchObject({ persisted: 'runtime' });
    expect(await node.reconcileNode([elsewhere])).toMatchObject({ kind: 'proven' });
    await rebootUntilReported(node);
    expect(node.report()).toMatchObject({ proven: true, persisted: 'runtime' });
    expect(await node.destinations()).toEqual([elsewhere]);
    expect(await isActive(node, 'peermasq-watch')).toBe(true);
  });
});

describe('a container that installs the watcher like the DaemonSet', () => {
  /**
   * Runs the container in the node's process namespace (hostPID), with a separate mount namespace and the given
   * capabilities.
   */
  function install({ networks, system }: GcpNode, capabilities: readonly string[]) {
    const only = ['-all', ...capabilities.map((name) => `+${name}`)].join(',');
    const inContainer =
      'mount -t proc proc /proc && only=$1 && shift && exec setpriv --bounding-set "$only" "$@"';
    return networks.nodeHost.exec(
      [
        ...['nsenter', '--target', String(system.leaderPid()), '--pid', '--'],
        ...['unshare', '--mount', 'sh', '-c', inContainer, 'container', only],
        ...installWatcherCommand,
      ],
      { stdin: program },
    );
  }

  const needed = ['sys_admin', 'sys_chroot', 'sys_ptrace'];

  test(`needs ${needed.join(', ')} and no other capability`, async () => {
    const node = await makeNode();
    await node.boot();
    for (const each of needed) {
      const others = needed.filter((name) => name !== each);
      expect(await install(node, others)).not.toMatchObject({ code: 0 });
      expect(await isActive(node, 'peermasq-watch')).toBe(false);
    }
    expect(await install(node, needed)).toMatchObject({ code: 0, stderr: '' });
    expect(await node.reconcileNode([backend])).toMatchObject({ kind: 'proven' });
    expect(await node.destinations()).toEqual([backend]);
  });
});
