// The disk image of a node: a Debian system, cached in .cache/boot.
import { debianSystem } from '../debian';

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

/** Returns the image's folder. Builds the image if it is missing. */
export const nodeImage = () => debianSystem('.cache/boot', { suite: 'bookworm', packages, files });
