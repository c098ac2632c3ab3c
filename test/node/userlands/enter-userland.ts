import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { finish, ownNamespaces } from '../../lab/debian';
import { missingPrograms, type Userland, withoutApplet } from './userlands';

export interface Entry {
  readonly userland: Userland;
  /** The folder of the Debian system. It is not changed. */
  readonly system: string;
  /** A bash of this machine that replaces the one of the userland. */
  readonly bash?: string | undefined;
}

/**
 * Mounts an overlay over the system, and in it this repository, Node and the kernel's file systems. Then runs the
 * command there. All mounts belong to a mount namespace and end with it. The overlay becomes the root of that namespace:
 * entering a machine of the lab would leave a root that only chroot had set.
 */
const enter = `
  system=$1 repository=$2 node=$3 bash=$4 applets=$5 folder=$6
  shift 6
  mount -t tmpfs tmpfs "$folder"
  mkdir "$folder/upper" "$folder/work" "$folder/root"
  root=$folder/root
  mount -t overlay overlay -o "lowerdir=$system,upperdir=$folder/upper,workdir=$folder/work" "$root"
  mount -t proc proc "$root/proc"
  mount --rbind /sys "$root/sys"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs tmpfs "$root/tmp"
  mkdir -p "$root$repository"
  mount --bind "$repository" "$root$repository"
  touch "$root/usr/local/bin/node"
  mount --bind "$node" "$root/usr/local/bin/node"
  [ -z "$bash" ] || mount --bind "$bash" "$root/usr/bin/bash"
  cd "$root"
  mkdir old
  pivot_root . old
  umount --lazy /old
  [ -z "$applets" ] || eval "$applets"
  cd "$repository"
  exec "$@"`;

/**
 * Makes bash find the applets of busybox before Debian's programs, but after those that a test puts first. Only the
 * node program runs with bash: the scripts of the lab need Debian's programs.
 */
const useBusybox = `
  mkdir /opt/busybox
  busybox --install -s /opt/busybox
  rm -f ${withoutApplet.map((name) => `/opt/busybox/${name}`).join(' ')}
  rm -f ${missingPrograms.map((name) => `/opt/busybox/${name} /usr/bin/${name}`).join(' ')}
  cat >/usr/local/bin/bash <<"END"
#!/bin/sh
PATH="\${PATH%%/usr/local/sbin:*}/opt/busybox:/usr/local/sbin:\${PATH#*/usr/local/sbin:}" exec /usr/bin/bash "$@"
END
  chmod +x /usr/local/bin/bash`;

/** The variables that programs in the userland get. Everything else could point to this machine's files. */
const environment = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  TMPDIR: '/tmp',
};

/** Runs a command in the userland, and returns its exit code and output. */
export function runInUserland({ userland, system, bash = '' }: Entry, argv: readonly string[]) {
  const applets = userland.applets === 'busybox' ? useBusybox : '';
  const args = ['userland', resolve(system), process.cwd(), process.execPath, bash, applets, '/mnt'];
  const script = ['sh', '-ec', enter, ...args, ...argv];
  return finish(
    spawn('unshare', [...ownNamespaces, ...script], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...environment, PEERMASQ_APPLETS: userland.applets ?? '' },
    }),
  );
}
