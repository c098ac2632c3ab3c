import { readFileSync } from 'node:fs';
import { parseConfig, type Config } from '../../shared/core/model/config';
import { messageOf, PermanentError } from '../../shared/core/model/errors';

export const configPath = (given: string | undefined): string =>
  given ?? process.env['PEERMASQ_CONFIG'] ?? 'peermasq.yaml';

/** @throws ConfigError with every error · PermanentError for a file that cannot be read */
export function readConfig(file: string): Config {
  return parseConfig(
    readTextFile(
      file,
      'Pass the config with --config FILE, or run peermasq in the directory of peermasq.yaml.',
    ),
  );
}

/** @throws PermanentError with `advice` */
export function readTextFile(file: string, advice: string): string {
  try {
    // Some editors and shells write a byte order mark.
    return readFileSync(file === '-' ? process.stdin.fd : file, 'utf8').replace(/^\ufeff/, '');
  } catch (cause) {
    throw new PermanentError('unreadable-file', `Cannot read ${file}: ${messageOf(cause)}`, advice, cause);
  }
}
