import { readFileSync } from 'node:fs';
import { parseConfig, type Config } from '../../shared/core/model/config';
import { messageOf, PermanentError } from '../../shared/core/model/errors';

/** What is meant where nothing is said. */
export const configPath = (given: string | undefined): string =>
  given ?? process.env['PEERMASQ_CONFIG'] ?? 'peermasq.yaml';

/** @throws ConfigError with every fault · PermanentError where the file cannot be read */
export function readConfig(file: string): Config {
  return parseConfig(readTextFile(file, 'Name the config: --config FILE, or run it where peermasq.yaml is.'));
}

/** @throws PermanentError that says what to do */
export function readTextFile(file: string, advice: string): string {
  try {
    // Some editors and shells put a mark of the byte order first.
    return readFileSync(file === '-' ? process.stdin.fd : file, 'utf8').replace(/^\ufeff/, '');
  } catch (cause) {
    throw new PermanentError('unreadable-file', `${file} cannot be read: ${messageOf(cause)}`, advice, cause);
  }
}
