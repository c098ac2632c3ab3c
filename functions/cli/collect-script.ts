import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Address } from '../../shared/core/model/cidr';

/**
 * Returns the script that prints everything about a node that explain reads. From the user's input it includes only a
 * parsed address. The input of the script's commands is empty, because they could otherwise read the rest of the script.
 */
export function collectScript(pod: Address | undefined): string {
  // The build places the functions next to the command line (infra/build.ts).
  const functions = readFileSync(join(__dirname, 'collect.sh'), 'utf8');
  return `#!/bin/sh
# Prints the rules, addresses and routes of this node for \`npx peermasq explain --rules\`. Changes nothing.
# Run it as root: sudo sh collect.sh > rules.txt

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

${functions}
if [ "$(id -u)" != 0 ]; then echo 'Not root: the rules of this node cannot be read. Run this script with sudo.' >&2; fi
collect_node '${pod?.text ?? ''}' </dev/null
`;
}
