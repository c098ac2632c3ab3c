import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Option, type Command } from 'commander';
import { clusterConfig, type Config } from '../../shared/core/model/config';
import { PermanentError } from '../../shared/core/model/errors';
import type { Deadline, Inspection, Log, Reach } from '../../shared/core/cloud';
import type { Dependencies, Selection } from '../../shared/core/reconcile/reconcile';
import { shellQuote } from '../../shared/core/util/shell';
import { configPath, readConfig } from './config';
import { atLeast, printErr, collect } from './output';

export type CloudName = 'aws' | 'gcp';

/** One region of an account, or one project: where nodes are looked for, with the credentials of whoever asks. */
export interface Target extends Dependencies {
  /** `aws us-east-1`, `gcp identity-nonprod`. */
  readonly name: string;
  readonly inspection: Inspection;
  readonly reach: Reach;
}

export interface TargetOptions {
  readonly config?: string;
  readonly cloud?: CloudName;
  readonly region?: readonly string[];
  readonly profile?: string;
  readonly project?: readonly string[];
  readonly stage: string;
  readonly cluster?: readonly string[];
  readonly timeout: number;
  readonly debug?: boolean;
}

/** The options of every command that asks a cloud. */
export function withTargetOptions(command: Command): Command {
  const cloud = new Option('--cloud <name>', 'only this cloud (default: those with credentials)');
  return command
    .option('--config <file>', 'the config (default: $PEERMASQ_CONFIG, else peermasq.yaml)')
    .addOption(cloud.choices(['aws', 'gcp']))
    .option('--region <region>', 'AWS; may be repeated (default: that of the profile)', collect)
    .option('--profile <name>', 'AWS: whose credentials (default: $AWS_PROFILE)')
    .option('--project <id>', 'Google Cloud; may be repeated (default: that of the credentials)', collect)
    .option('--stage <name>', 'AWS: which deployment', defaultStage())
    .option('--timeout <seconds>', 'how long the clouds may take', atLeast(1), 120);
}

/** The same options once more, for a command that people paste. */
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

const defaultStage = (): string => process.env['PEERMASQ_STAGE'] ?? 'dev';

/** Narrows a command to clusters of the config. */
export const clusterOption = (): Option =>
  new Option(
    '-c, --cluster <name>',
    'only this cluster; may be repeated (default: all of the config)',
  ).argParser(collect);

/** @throws PeermasqError for a config with faults, or where no cloud can be asked */
export async function openTargets(options: TargetOptions): Promise<Target[]> {
  const config = readConfig(configPath(options.config));
  const common = { config, clock: { now: () => Date.now() }, log: logFor(options) };
  const clouds = options.cloud ? [options.cloud] : configuredClouds(options);
  if (clouds.length === 0) throw noCredentials();
  const opened = clouds.map(async (cloud): Promise<Target[]> => {
    // Each cloud's SDK takes a part of a second to load.
    if (cloud === 'aws') return (await import('./open-aws-targets')).openAwsTargets(options, common);
    return (await import('./open-gcp-targets')).openGcpTargets(options, common);
  });
  return (await Promise.all(opened)).flat();
}

export const deadlineOf = ({ timeout }: TargetOptions): Deadline => Date.now() + timeout * 1_000;

/** @throws PermanentError for a cluster that the config does not have */
export function selectionOf(
  { cluster }: TargetOptions,
  config: Config,
): Extract<Selection, { clusters: unknown }> {
  const known = config.clusters.map(({ name }) => name);
  const unknown = (cluster ?? []).find((name) => !clusterConfig(config, name));
  if (unknown === undefined) return { clusters: cluster ?? known };
  throw new PermanentError(
    'bad-option',
    `The config has no cluster ${JSON.stringify(unknown)}`,
    `Name one of those it has: ${known.join(', ')}.`,
  );
}

function configuredClouds({ region, profile, project }: TargetOptions): CloudName[] {
  const isSet = (...names: string[]) => names.some((name) => process.env[name]);
  const hasFile = (...path: string[]) => existsSync(join(...path));
  const [home, env] = [homedir(), process.env];
  const hasAws =
    (region ?? profile) !== undefined ||
    isSet('AWS_PROFILE', 'AWS_ACCESS_KEY_ID', 'AWS_WEB_IDENTITY_TOKEN_FILE') ||
    isSet('AWS_CONTAINER_CREDENTIALS_RELATIVE_URI', 'AWS_CONTAINER_CREDENTIALS_FULL_URI') ||
    hasFile(env['AWS_CONFIG_FILE'] ?? join(home, '.aws', 'config')) ||
    hasFile(env['AWS_SHARED_CREDENTIALS_FILE'] ?? join(home, '.aws', 'credentials'));
  const gcloud = env['CLOUDSDK_CONFIG'] ?? join(home, '.config', 'gcloud');
  const hasGcp =
    project !== undefined ||
    isSet('GOOGLE_APPLICATION_CREDENTIALS', 'GOOGLE_CLOUD_PROJECT', 'GCE_METADATA_HOST') ||
    hasFile(gcloud, 'application_default_credentials.json');
  return [...(hasAws ? (['aws'] as const) : []), ...(hasGcp ? (['gcp'] as const) : [])];
}

const noCredentials = () =>
  new PermanentError(
    'no-credentials',
    'No credentials of a cloud were found',
    'Run `aws configure sso` or `gcloud auth application-default login`, or say --cloud for a machine that has a role of its own.',
  );

/** A command answers by itself; what its passes log is for --debug, but for what nobody else tells. */
function logFor({ debug = false }: TargetOptions): Log {
  const line = (event: string, fields: Record<string, unknown>) => {
    printErr(`${event} ${JSON.stringify({ ...fields, err: undefined })}`);
  };
  const isAlwaysLogged = (event: string) => event === 'RecordFailed' || event === 'NodeRestarted';
  const log = (event: string, fields: Record<string, unknown>) => {
    if (debug || isAlwaysLogged(event)) line(event, fields);
  };
  return { info: log, warn: log, error: log };
}
