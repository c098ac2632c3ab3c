import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** What a check found, and the file and line. */
export type Violation = { readonly file: string; readonly line: number; readonly message: string };

/**
 * Returns the files that git tracks or could add, below the given paths or everywhere. Like npm, it must run in the
 * top folder of the repository.
 */
export function listFiles(paths: readonly string[] = []): string[] {
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', '--deduplicate', '--', ...paths];
  const files = execFileSync('git', args, { encoding: 'utf8' }).trim().split('\n');
  return files.filter((file) => file !== '').toSorted();
}

export const readText = (file: string): string => readFileSync(file, 'utf8');
