import { gzipSync } from 'node:zlib';

/**
 * Packs the program. Base64 needs no quoting in any of the output formats, and compression reduces the program to a
 * third of its size.
 */
function packedLines(program: string): string {
  const packed = gzipSync(program, { level: 9 }).toString('base64');
  return (packed.match(/.{1,120}/g) ?? []).join('\n');
}

/**
 * Returns POSIX shell code that writes the node program to "$written", and deletes that file when the shell exits.
 * The file needs no executable bit, because its file system may be mounted noexec.
 */
export const unpackProgram = (program: string): string => `trap 'rm -f "$written"' EXIT
base64 -d <<'END' | gzip -d > "$written"
${packedLines(program)}
END`;

/**
 * Returns POSIX shell code that installs the node program as "$folder"/peermasq.sh. A rename makes the installation
 * atomic.
 */
export const installProgram = (program: string): string => `folder="\${PEERMASQ_DIR:-/var/lib/peermasq}"
umask 077
mkdir -p "$folder"
written="$(mktemp "$folder/.peermasq.sh.XXXXXX")"
${unpackProgram(program)}
mv -f "$written" "$folder/peermasq.sh"`;
