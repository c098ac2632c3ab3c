import { gzipSync } from 'node:zlib';
import { printRuleSet, type RuleSet } from '../rule-set';

/** As text the program would need escapes wherever it travels; packed it also takes a third of the room. */
export function packedLines(program: string): string {
  const packed = gzipSync(program, { level: 9 }).toString('base64');
  return (packed.match(/.{1,120}/g) ?? []).join('\n');
}

/**
 * Shell that puts the node program at "$folder"/peermasq.sh: written beside the old one and renamed. Nothing needs an
 * executable bit, so /var may be mounted noexec. Plain sh.
 */
export const installProgram = (program: string): string => `folder="\${PEERMASQ_DIR:-/var/lib/peermasq}"
umask 077
mkdir -p "$folder"
written="$(mktemp "$folder/.peermasq.sh.XXXXXX")"
trap 'rm -f "$written"' EXIT
base64 -d <<'END' | gzip -d > "$written"
${packedLines(program)}
END
mv -f "$written" "$folder/peermasq.sh"`;

/**
 * A script that needs nothing but itself: it installs the node program and applies the rule set. For instance
 * templates and cloud-init; EC2 takes 16 KB of user data, which is too little for it.
 */
export function renderStartupScript(program: string, ruleSet: RuleSet): string {
  return `#!/bin/sh
# Puts a peermasq rule set in force. What changes later does not reach this node: that takes the functions.
set -eu
${installProgram(program)}
bash "$folder/peermasq.sh" apply <<'END'
${printRuleSet(ruleSet)}END
`;
}
