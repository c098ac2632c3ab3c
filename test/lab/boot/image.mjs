// The disk image of a node: a Debian system that debootstrap builds. It is cached in .cache/boot, under a hash of the
// build steps.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const folder = '.cache/boot';

const suite = 'bookworm';
const packages = [
  ...['systemd-sysv', 'dbus', 'google-guest-agent', 'ca-certificates', 'curl'],
  ...['iproute2', 'iptables', 'nftables', 'ipset', 'conntrack'],
];
/** The files that are added, as in Google's images. The folder makes the journal persistent. */
const files = {
  'etc/hosts': '127.0.0.1 localhost\n169.254.169.254 metadata.google.internal metadata\n',
  'etc/hostname': 'node\n',
  'etc/machine-id': '5d1f4a3c2b1e4f60a9b8c7d6e5f40312\n',
  'var/log/journal/.keep': '',
};

/**
 * Returns the image's folder. If the folder is missing, builds the image, which takes one or two minutes and about
 * 300 MB.
 */
export function nodeImage() {
  const recipe = JSON.stringify({ suite, packages, files });
  const image = join(folder, createHash('sha256').update(recipe).digest('hex').slice(0, 16));
  if (existsSync(image)) return image;
  if (existsSync(folder))
    for (const old of readdirSync(folder)) rmSync(join(folder, old), { recursive: true });
  mkdirSync(folder, { recursive: true });
  // The image has a temporary name until it is complete.
  const unfinished = `${image}.unfinished`;
  debootstrap(unfinished);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(unfinished, path)), { recursive: true });
    writeFileSync(join(unfinished, path), text);
  }
  rmSync(join(unfinished, 'var/cache/apt'), { recursive: true });
  renameSync(unfinished, image);
  return image;
}

function debootstrap(target) {
  const args = ['--variant=minbase', `--include=${packages.join(',')}`, suite, target, ...packageSource()];
  console.error(`+ debootstrap ${args.join(' ')}`);
  // debootstrap runs in separate namespaces, so that no mounts or processes remain, even if it fails.
  const namespaces = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const { status, stdout, stderr } = spawnSync('unshare', [...namespaces, 'debootstrap', ...args], {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  if (status === 0) return;
  console.error(`${stdout}${stderr}debootstrap failed; see its output above.`);
  process.exit(1);
}

/**
 * Returns the mirror that apt on this machine uses for the Debian release, because that mirror is reachable. Returns
 * nothing if there is no such mirror; debootstrap then uses its default.
 */
function packageSource() {
  const filter = ['Created-By: Packages', `Codename: ${suite}`, 'Component: main', 'Origin: Debian'];
  const sites = execFileSync('apt-get', ['indextargets', '--format', '$(REPO_URI)', ...filter], {
    encoding: 'utf8',
  });
  return sites.split('\n').filter(Boolean).slice(0, 1);
}
