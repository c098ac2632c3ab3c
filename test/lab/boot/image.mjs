// The disk of a node: a Debian that debootstrap makes once and .cache/boot keeps, by the hash of its recipe.
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
/** What Google's own images have on top. The folder makes the journal outlive a reboot. */
const files = {
  'etc/hosts': '127.0.0.1 localhost\n169.254.169.254 metadata.google.internal metadata\n',
  'etc/hostname': 'node\n',
  'etc/machine-id': '5d1f4a3c2b1e4f60a9b8c7d6e5f40312\n',
  'var/log/journal/.keep': '',
};

/** The folder of the image, which is made if it is not there: some 300 MB, in a minute or two. */
export function nodeImage() {
  const recipe = JSON.stringify({ suite, packages, files });
  const image = join(folder, createHash('sha256').update(recipe).digest('hex').slice(0, 16));
  if (existsSync(image)) return image;
  if (existsSync(folder))
    for (const old of readdirSync(folder)) rmSync(join(folder, old), { recursive: true });
  mkdirSync(folder, { recursive: true });
  // Under another name until it is whole.
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
  const args = ['--variant=minbase', `--include=${packages.join(',')}`, suite, target, ...mirror()];
  console.error(`+ debootstrap ${args.join(' ')}`);
  // In namespaces of its own, so that nothing stays mounted or running, however it ends.
  const namespaces = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const { status, stdout, stderr } = spawnSync('unshare', [...namespaces, 'debootstrap', ...args], {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  if (status === 0) return;
  console.error(`${stdout}${stderr}debootstrap failed; what it says above tells what to mend.`);
  process.exit(1);
}

/** Where this machine's own apt takes that Debian from, if it does: it can be reached. Else debootstrap's default. */
function mirror() {
  const filter = ['Created-By: Packages', `Codename: ${suite}`, 'Component: main', 'Origin: Debian'];
  const sites = execFileSync('apt-get', ['indextargets', '--format', '$(REPO_URI)', ...filter], {
    encoding: 'utf8',
  });
  return sites.split('\n').filter(Boolean).slice(0, 1);
}
