import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseConfig, type Config } from '../../shared/core/model/config';

/** The path of a file that the build places next to each function's bundle (infra/build.ts). */
const bundledFile = (name: string): string => join(__dirname, name);

/**
 * Loads the config that was deployed with the function. An invalid config fails when the function starts, before any
 * event is received.
 * @throws ConfigError
 */
export function loadConfig(): Config {
  return parseConfig(readFileSync(process.env['PEERMASQ_CONFIG'] ?? bundledFile('peermasq.yaml'), 'utf8'));
}

/** Loads the text of the node program. */
export function loadProgram(): string {
  return readFileSync(process.env['PEERMASQ_PROGRAM'] ?? bundledFile('peermasq.sh'), 'utf8');
}

/** Returns the name of the deployment, which is part of the names of the SSM documents. */
export function stage(): string {
  return process.env['PEERMASQ_STAGE'] ?? 'dev';
}
