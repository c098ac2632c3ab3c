import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseConfig, type Config } from '../../shared/core/model/config';

/** Files that the build lays beside the bundle of each function (infra/build.ts). */
const bundledFile = (name: string): string => join(__dirname, name);

/**
 * The config that was deployed with the function. Read when the function starts, so that a bad one stops it
 * before it takes an event.
 * @throws ConfigError with every fault.
 */
export function loadConfig(): Config {
  return parseConfig(readFileSync(process.env['PEERMASQ_CONFIG'] ?? bundledFile('peermasq.yaml'), 'utf8'));
}

/** The text of the node program. */
export function loadProgram(): string {
  return readFileSync(process.env['PEERMASQ_PROGRAM'] ?? bundledFile('peermasq.sh'), 'utf8');
}

/** Which deployment this is; part of the name of the SSM document. */
export function stage(): string {
  return process.env['PEERMASQ_STAGE'] ?? 'dev';
}
