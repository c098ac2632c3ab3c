/** A set of programs with which the node program is tested. */
export interface Userland {
  readonly name: string;
  /** The Debian release that the programs are from. */
  readonly suite: string;
  /** The multi-call program that replaces the coreutils, grep, sed, awk, flock and others. */
  readonly applets?: 'busybox';
}

export const userlands: readonly Userland[] = [
  { name: 'Debian 11', suite: 'bullseye' },
  { name: 'Debian 12', suite: 'bookworm' },
  { name: 'Debian 13', suite: 'trixie' },
  { name: 'Debian sid', suite: 'sid' },
  { name: 'busybox, Debian 11', suite: 'bullseye', applets: 'busybox' },
  { name: 'busybox, Debian 13', suite: 'trixie', applets: 'busybox' },
];

export const packages = [
  ...['bash', 'iptables', 'nftables', 'ipset', 'conntrack', 'iproute2', 'curl'],
  ...['busybox', 'procps', 'perl-base'],
];

/** Applets that nodes with busybox do not use: they lack what the node program and network plugins need. */
export const withoutApplet = [
  ...['ip', 'ipaddr', 'iplink', 'ipneigh', 'iproute', 'iprule', 'iptunnel', 'tc'],
  ...['sh', 'ash', 'hush', 'bash'],
];

/** Programs that are missing on nodes with busybox. */
export const missingPrograms = ['cmp', 'diff'];
