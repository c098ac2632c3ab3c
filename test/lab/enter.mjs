// Runs a command of this repository in new network, mount and process namespaces. The namespaces and all their
// processes end with the command, even if it fails, so nothing is left behind on the machine. Works for root, and for
// ordinary users through a user namespace.
import { spawn, spawnSync } from 'node:child_process';

const isRoot = process.getuid?.() === 0;
const namespaces = [
  ...(isRoot ? [] : ['--user', '--map-root-user']),
  '--net',
  '--mount',
  '--pid',
  '--fork',
  '--kill-child',
  '--mount-proc',
];
// A new tmpfs on /run holds the handles of `ip netns`, the lock of iptables-legacy, and temporary files, so all of them
// are removed at the end. The shell remains process 1 to reap orphans.
const prepare = 'mount -t tmpfs tmpfs /run && mkdir /run/tmp && ip link set lo up && { "$@"; exit $?; }';

const [command, ...args] = process.argv.slice(2);
const env = {
  ...process.env,
  PATH: `${process.cwd()}/node_modules/.bin:${process.env.PATH}:/usr/sbin:/sbin`,
};

const inLab = (...argv) => [...namespaces, 'sh', '-c', prepare, 'lab', ...argv];
const attempt = spawnSync('unshare', inLab('true'), { encoding: 'utf8', env });
const isPossible = attempt.status === 0;
if (isPossible) Object.assign(env, { PEERMASQ_LAB: 'yes', TMPDIR: '/run/tmp' });
else env.PEERMASQ_LAB = `no: ${(attempt.stderr || attempt.error?.message || 'unshare failed').trim()}`;

const child = isPossible
  ? spawn('unshare', inLab(command, ...args), { stdio: 'inherit', env })
  : spawn(command, args, { stdio: 'inherit', env });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  // SIGKILL, because unshare ignores other signals. --kill-child then ends its children.
  process.on(signal, () => child.kill('SIGKILL'));
}
child.on('exit', (code, signal) => {
  process.exitCode = signal ? 130 : (code ?? 1);
});
