import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { joinNodeProgram } from '../../infra/join-node-program';

const root = join(__dirname, '../..');

/** The node program, joined from its sections, so that tests need no build. */
export const nodeProgram = joinNodeProgram(root);

/**
 * The path of the node program on disk. The folder is named after the program's content, so that concurrent tests can
 * share it.
 */
export const nodeProgramFile = programFile(nodeProgram);

/** Returns the path of a file with this text. */
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
