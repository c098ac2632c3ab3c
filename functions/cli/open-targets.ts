import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Log } from '../../shared/core/log';
import { PermanentError } from '../../shared/core/model/errors';
import { isNonEmpty, type NonEmpty } from '../../shared/core/util/collections';
import { configPath, readConfig } from './options';
import { printErr } from './output';
import type { CloudName, Target, TargetOptions } from './targets';

/**
 * Opens the selected targets; this is the composition root of the command line.
 * @throws PeermasqError for an invalid config, or when no cloud has credentials
 */
export async function openTargets(options: TargetOptions): Promise<NonEmpty<Target>> {
  const config = readConfig(configPath(options.config));
  const common = { config, clock: { now: () => Date.now() }, log: makeLog(options) };
  const clouds = options.cloud ? [options.cloud] : configuredClouds(options);
  const opened = clouds.map(async (cloud): Promise<Target[]> => {
    // The SDKs are loaded on demand, because loading one takes a fraction of a second.
    if (cloud === 'aws') return (await import('./open-aws-targets')).openAwsTargets(options, common);
    return (await import('./open-gcp-targets')).openGcpTargets(options, common);
  });
  const targets = (await Promise.all(opened)).flat();
  if (isNonEmpty(targets)) return targets;
  throw new PermanentError('no-credentials', 'No cloud credentials found', {
    advice:
      'Run `aws configure sso` or `gcloud auth application-default login`. On a machine with an attached role, use --cloud.',
  });
}

function configuredClouds(options: TargetOptions): CloudName[] {
  const clouds: CloudName[] = [];
  if (hasAwsCredentials(options)) clouds.push('aws');
  if (hasGcpCredentials(options)) clouds.push('gcp');
  return clouds;
}

function hasAwsCredentials({ region, profile }: TargetOptions): boolean {
  return (
    (region ?? profile) !== undefined ||
    isSet('AWS_PROFILE', 'AWS_ACCESS_KEY_ID', 'AWS_WEB_IDENTITY_TOKEN_FILE') ||
    isSet('AWS_CONTAINER_CREDENTIALS_RELATIVE_URI', 'AWS_CONTAINER_CREDENTIALS_FULL_URI') ||
    existsSync(process.env['AWS_CONFIG_FILE'] ?? join(homedir(), '.aws', 'config')) ||
    existsSync(process.env['AWS_SHARED_CREDENTIALS_FILE'] ?? join(homedir(), '.aws', 'credentials'))
  );
}

function hasGcpCredentials({ project }: TargetOptions): boolean {
  const gcloudDirectory = process.env['CLOUDSDK_CONFIG'] ?? join(homedir(), '.config', 'gcloud');
  return (
    project !== undefined ||
    isSet('GOOGLE_APPLICATION_CREDENTIALS', 'GOOGLE_CLOUD_PROJECT', 'GCE_METADATA_HOST') ||
    existsSync(join(gcloudDirectory, 'application_default_credentials.json'))
  );
}

const isSet = (...variables: string[]): boolean => variables.some((name) => process.env[name]);

/** Events that are logged even without --debug, because no command shows them in its output. */
const alwaysLogged: ReadonlySet<string> = new Set(['RecordFailed', 'NodeRestarted']);

function makeLog({ debug = false }: TargetOptions): Log {
  const log = (event: string, fields: Record<string, unknown>) => {
    if (!debug && !alwaysLogged.has(event)) return;
    printErr(`${event} ${JSON.stringify({ ...fields, err: undefined })}`);
  };
  return { info: log, warn: log, error: log };
}
