import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** A finding of a check, with its file and line. */
export type Violation = { readonly file: string; readonly line: number; readonly message: string };

/**
 * Returns the files that git tracks or does not ignore, below the given paths or everywhere. It must be called in the
 * root of the repository, where npm runs its scripts.
 */
export function listFiles(paths: readonly string[] = []): string[] {
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', '--deduplicate', '--', ...paths];
  const files = execFileSync('git', args, { encoding: 'utf8' }).trim().split('\n');
  return files.filter((file) => file !== '').toSorted();
}

export const readText = (file: string): string => readFileSync(file, 'utf8');
