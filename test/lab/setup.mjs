// Installs the packages that the lab and the tests need: npm packages from the lockfile and, as root on Debian,
// kernel tools. Takes milliseconds if nothing is missing. Imports no npm packages, because it runs before they are
// installed. With `boot`, `browser` or `userlands`, also installs the packages that npm run test:boot, test:browser or
// test:userlands needs.
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { enableHooks } from './enable-hooks.mjs';

/** Maps each program to the Debian package that contains it. */
const tools = {
  'iptables-restore': 'iptables',
  nft: 'nftables',
  ipset: 'ipset',
  conntrack: 'conntrack',
  busybox: 'busybox',
  ip: 'iproute2',
  curl: 'curl',
  perl: 'perl-base',
  shellcheck: 'shellcheck',
};
const additionalTools = {
  boot: { debootstrap: 'debootstrap', 'systemd-nspawn': 'systemd-container' },
  browser: { chromium: 'chromium' },
  userlands: { debootstrap: 'debootstrap' },
};
Object.assign(tools, additionalTools[process.argv[2]]);

const path = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
const isInstalled = (tool) => path.some((folder) => existsSync(join(folder, tool)));

/** Runs a command with its output on stderr: stdout is reserved for the command that follows the setup. */
function run(command, args, env = {}) {
  console.error(`+ ${[command, ...args].join(' ')}`);
  const { status, error } = spawnSync(command, args, {
    stdio: ['ignore', 2, 2],
    env: { ...process.env, ...env },
  });
  if (error) throw error;
  if (status !== 0) {
    console.error(
      `${command} exited with ${status}. Nothing was started. Fix the problem and run the command again.`,
    );
    process.exit(status ?? 1);
  }
}

function installPackages() {
  const installed = 'node_modules/.package-lock.json';
  const isCurrent =
    existsSync(installed) && statSync(installed).mtimeMs >= statSync('package-lock.json').mtimeMs;
  if (!isCurrent) run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
}

function installTools() {
  const missing = [
    ...new Set(
      Object.keys(tools)
        .filter((tool) => !isInstalled(tool))
        .map((tool) => tools[tool]),
    ),
  ];
  if (missing.length === 0) return;
  const canInstall = process.getuid?.() === 0 && isInstalled('apt-get');
  if (!canInstall) {
    console.error(`Missing Debian packages: ${missing.join(' ')}. Install them with:
  sudo apt-get install ${missing.join(' ')}`);
    return;
  }
  const quiet = { DEBIAN_FRONTEND: 'noninteractive' };
  run('apt-get', ['update', '-qq'], quiet);
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing], quiet);
}

installPackages();
installTools();
enableHooks();
