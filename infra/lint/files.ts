import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** What a check found, and where. */
export type Violation = { readonly file: string; readonly line: number; readonly message: string };

/** The files that git knows or could add, below some paths or everywhere. Like npm, run it in the top folder. */
export function listFiles(paths: readonly string[] = []): string[] {
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', '--deduplicate', '--', ...paths];
  const files = execFileSync('git', args, { encoding: 'utf8' }).trim().split('\n');
  return files.filter((file) => file !== '').toSorted();
}

export const readText = (file: string): string => readFileSync(file, 'utf8');
