import { EC2Client } from '@aws-sdk/client-ec2';
import { getClients } from '../../shared/aws/client/clients';
import { makeCloud } from '../../shared/aws/cloud';
import { makeReach } from '../../shared/aws/reach/reach';
import { makeInspection } from '../../shared/aws/snapshot';
import { messageOf, PermanentError } from '../../shared/core/model/errors';
import type { Dependencies } from '../../shared/core/reconcile/reconcile';
import type { Target, TargetOptions } from './targets';

/**
 * Opens one target for each region.
 * @throws PermanentError if no region is set
 */
export async function openAwsTargets(
  { region, profile, stage }: TargetOptions,
  common: Omit<Dependencies, 'cloud'>,
): Promise<Target[]> {
  // Hides the SDK's warning that it will soon drop support for this Node.js version. Users of this command cannot act
  // on it.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true';
  // The SDK reads the profile from the environment.
  if (profile !== undefined) process.env['AWS_PROFILE'] = profile;
  const regions = new Set(region ?? [await defaultRegion()]);
  return [...regions].map((name) => {
    const clients = getClients(name);
    return {
      ...common,
      name: `aws ${name}`,
      cloud: makeCloud(clients, { stage }),
      inspection: makeInspection(clients, { stage }),
      reach: makeReach(clients),
    };
  });
}

/** Returns the region from the environment or the profile. */
async function defaultRegion(): Promise<string> {
  try {
    return await new EC2Client({}).config.region();
  } catch (cause) {
    throw new PermanentError('no-region', `No AWS region is set: ${messageOf(cause)}`, {
      advice: 'Pass --region REGION, or set AWS_REGION.',
      cause,
    });
  }
}
