import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseConfig, type Config } from '../../shared/core/model/config';

/** A file that the build puts next to the bundle of each function (infra/build.ts). */
const bundledFile = (name: string): string => join(__dirname, name);

/**
 * The config that was deployed with the function. It is read when the function starts, so that an invalid one stops
 * the function before it takes an event.
 * @throws ConfigError
 */
export function loadConfig(): Config {
  return parseConfig(readFileSync(process.env['PEERMASQ_CONFIG'] ?? bundledFile('peermasq.yaml'), 'utf8'));
}

/** The text of the node program. */
export function loadProgram(): string {
  return readFileSync(process.env['PEERMASQ_PROGRAM'] ?? bundledFile('peermasq.sh'), 'utf8');
}

/** The name of the deployment. It is part of the names of the SSM documents. */
export function stage(): string {
  return process.env['PEERMASQ_STAGE'] ?? 'dev';
}
