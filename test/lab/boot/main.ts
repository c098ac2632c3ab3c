// Runs the tests in this folder (`npm run test:boot`). Each test boots a node with a real Debian system in the lab's
// networks.
import { spawn, spawnSync } from 'node:child_process';
import { nodeImage } from './image';

if (process.getuid?.() !== 0) {
  console.error('Booting a node needs root, for debootstrap and systemd-nspawn. Try: sudo npm run test:boot');
  process.exit(1);
}

// systemd requires the unified control group hierarchy, even if the machine uses the legacy hierarchy.
const oneHierarchy = 'mount -t cgroup2 cgroup2 /sys/fs/cgroup';
const lab = ['test/lab/enter.mjs', 'sh', '-c', `${oneHierarchy} && exec "$@"`, 'boot'];
const jest = ['jest', '--runInBand', '--forceExit', '--testMatch', '<rootDir>/test/lab/boot/*.spec.ts'];

/**
 * Removes the control groups, which are not removed together with the lab. A control group can be removed only after
 * its last process has ended. Control groups of concurrent runs are kept.
 */
function removeGroups() {
  const remove = 'find /sys/fs/cgroup/peermasq-* -depth -type d -exec rmdir {} + 2> /dev/null && break';
  const script = `${oneHierarchy}; ls -d /sys/fs/cgroup/peermasq-* || exit 0; for try in 1 2 3 4 5; do ${remove}; sleep 0.2; done`;
  spawnSync('unshare', ['--mount', 'sh', '-c', script]);
}

async function main(): Promise<void> {
  const env = { ...process.env, PEERMASQ_IMAGE: await nodeImage() };
  removeGroups();
  const child = spawn(process.execPath, [...lab, ...jest, ...process.argv.slice(2)], {
    stdio: 'inherit',
    env,
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  child.on('exit', (code) => {
    removeGroups();
    process.exitCode = code ?? 1;
  });
}

void main();
