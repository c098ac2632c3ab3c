import { readFileSync } from 'node:fs';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { parseConfig, type Config } from '../../shared/core/model/config';
import { messageOf, PermanentError } from '../../shared/core/model/errors';
import { shellQuote } from '../../shared/core/util/shell';
import { stage as defaultStage } from '../runtime/settings';
import type { TargetOptions } from './targets';

/** Adds the options that are common to all commands that call a cloud. */
export function withTargetOptions(command: Command): Command {
  const cloud = new Option('--cloud <name>', 'only this cloud (default: every cloud with credentials)');
  return command
    .option('--config <file>', 'config file (default: $PEERMASQ_CONFIG, else peermasq.yaml)')
    .addOption(cloud.choices(['aws', 'gcp']))
    .option('--region <region>', "AWS region; repeatable (default: the profile's region)", collect)
    .option('--profile <name>', 'AWS profile (default: $AWS_PROFILE)')
    .option('--project <id>', "Google Cloud project; repeatable (default: the credentials' project)", collect)
    .option('--stage <name>', 'AWS deployment stage', defaultStage())
    .option('--timeout <seconds>', 'time limit for calls to the clouds', atLeast(1), 120);
}

/** Returns the target options as arguments, for a command line that the user can copy. */
export function targetArgs({ config, cloud, region, profile, project, stage }: TargetOptions): string[] {
  const option = (name: string, values: readonly (string | undefined)[]) =>
    values.flatMap((value) => (value === undefined ? [] : [`--${name}`, shellQuote(value)]));
  return [
    ...option('config', [config]),
    ...option('cloud', [cloud]),
    ...option('region', region ?? []),
    ...option('profile', [profile]),
    ...option('project', project ?? []),
    ...option('stage', stage === defaultStage() ? [] : [stage]),
  ];
}

export const clusterOption = (): Option =>
  new Option(
    '-c, --cluster <name>',
    'only this cluster; repeatable (default: all clusters in the config)',
  ).argParser(collect);

export const outputOption = (): Option =>
  new Option('-o, --output <format>', 'output format').choices(['table', 'json', 'yaml']).default('table');

/** Returns a commander parser for whole numbers of at least `minimum`. */
export const atLeast =
  (minimum: number) =>
  (text: string): number => {
    if (/^\d{1,9}$/.test(text) && Number(text) >= minimum) return Number(text);
    throw new InvalidArgumentError(`Expected a whole number of at least ${minimum}.`);
  };

/** Collects the values of an option that may be repeated. */
const collect = (value: string, previous: readonly string[] | undefined): string[] => [
  ...(previous ?? []),
  value,
];

/** Adds examples to the end of a command's help. */
export function addExamples(command: Command, examples: readonly string[]): void {
  command.addHelpText('after', `\nExamples:\n${examples.map((line) => `  $ ${line}`).join('\n')}`);
}

export const configPath = (given: string | undefined): string =>
  given ?? process.env['PEERMASQ_CONFIG'] ?? 'peermasq.yaml';

/**
 * Reads and parses the config.
 * @throws ConfigError with all errors in the config
 * @throws PermanentError if the file cannot be read
 */
export function readConfig(file: string): Config {
  return parseConfig(
    readTextFile(
      file,
      'Pass the config with --config FILE, or run peermasq in the directory of peermasq.yaml.',
    ),
  );
}

/** Reads a file as UTF-8, without the byte order mark that some editors and shells write. */
export const readTextFile = (file: string, advice: string): string =>
  readBytes(file, advice)
    .toString('utf8')
    .replace(/^\ufeff/, '');

/**
 * Reads a file, or stdin for `-`.
 * @param advice the advice in the error
 * @throws PermanentError if the file cannot be read
 */
export function readBytes(file: string, advice: string): Buffer {
  try {
    return readFileSync(file === '-' ? process.stdin.fd : file);
  } catch (cause) {
    throw new PermanentError('unreadable-file', `Cannot read ${file}: ${messageOf(cause)}`, {
      advice,
      cause,
    });
  }
}
