import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { joinNodeProgram } from '../../infra/join-node-program';

const root = join(__dirname, '../..');

/** The node program. It is joined from its sections here, so tests do not depend on a build. */
export const nodeProgram = joinNodeProgram(root);

/**
 * The path of the node program on disk. The folder's name is a hash of the program, so concurrent tests can share the
 * file.
 */
export const nodeProgramFile = programFile(nodeProgram);

/** Returns the path of a file with this text. Writes the file if it does not exist yet. */
export function programFile(text: string): string {
  const folder = join(
    root,
    'node_modules/.cache/node-program',
    createHash('sha256').update(text).digest('hex'),
  );
  const file = join(folder, 'peermasq.sh');
  if (existsSync(file)) return file;
  mkdirSync(folder, { recursive: true });
  const written = join(folder, `.${process.pid}`);
  writeFileSync(written, text);
  renameSync(written, file);
  return file;
}
