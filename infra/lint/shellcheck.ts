import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { joinSections } from '../join-node-program';

const passed = 'node_modules/.cache/shellcheck';

/**
 * Returns what shellcheck finds in the joined sections of the node program, or undefined if shellcheck is not
 * installed. A run takes 9 seconds, so a text that has passed is not checked again.
 */
export function shellcheckNodeProgram(): string | undefined {
  const { error, stdout: version } = spawnSync('shellcheck', ['--version'], { encoding: 'utf8' });
  if (error) return undefined;
  const input = joinSections();
  const mark = join(passed, createHash('sha256').update(version).update(input).digest('hex'));
  if (existsSync(mark)) return '';
  const { status, stdout, stderr } = spawnSync('shellcheck', ['-'], { input, encoding: 'utf8' });
  if (status !== 0) return `${stdout}${stderr}shellcheck failed\n`;
  mkdirSync(passed, { recursive: true });
  writeFileSync(mark, '');
  return '';
}
