import { gzipSync } from 'node:zlib';

/** As text the program would need escapes wherever it travels; packed it also takes a third of the room. */
function packedLines(program: string): string {
  const packed = gzipSync(program, { level: 9 }).toString('base64');
  return (packed.match(/.{1,120}/g) ?? []).join('\n');
}

/**
 * Shell that writes the node program to the file "$written", which goes with the shell. Nothing needs an executable
 * bit, so that file systems may be mounted noexec. Plain sh.
 */
export const unpackProgram = (program: string): string => `trap 'rm -f "$written"' EXIT
base64 -d <<'END' | gzip -d > "$written"
${packedLines(program)}
END`;

/** Shell that keeps the node program at "$folder"/peermasq.sh: written beside the old one and renamed, it is always whole. */
export const installProgram = (program: string): string => `folder="\${PEERMASQ_DIR:-/var/lib/peermasq}"
umask 077
mkdir -p "$folder"
written="$(mktemp "$folder/.peermasq.sh.XXXXXX")"
${unpackProgram(program)}
mv -f "$written" "$folder/peermasq.sh"`;
