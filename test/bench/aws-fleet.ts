import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeDocument } from '../../infra/aws/document';
import { documentName } from '../../shared/aws/names';
import { startLocalAws, type LocalAws } from '../lab/aws/cloud';
import { readDeployment } from '../lab/aws/deployment';
import { startStack, type LabStack } from '../lab/aws/stack';

const cluster = 'shop';
const vpcId = 'vpc-0123456789abcdef0';
const peering = 'pcx-0123456789abcdef0';
export const subnetIds = ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1', 'subnet-0123456789abcdef2'];

export interface AwsFleet {
  readonly aws: LocalAws;
  readonly stack: LabStack;
  readonly cluster: string;
  readonly close: () => Promise<void>;
}

/**
 * Starts a local AWS account with the stack in serverless.yml and a cluster in three subnets. API rate limits are
 * enforced.
 */
export async function openAwsFleet(): Promise<AwsFleet> {
  const aws = await startLocalAws();
  aws.putDocument(documentName('dev'), makeDocument('echo hello\n'));
  const routes = [{ destinationCidrBlock: '10.0.0.0/16', vpcPeeringConnectionId: peering }];
  aws.addNetwork({ vpcId, cidrs: ['172.20.0.0/16'], subnetIds, routes });
  aws.state.peerings.push({ vpcPeeringConnectionId: peering, status: 'active' });
  aws.enableRateLimits();
  const folder = mkdtempSync(join(tmpdir(), 'peermasq-bench-'));
  const config = join(folder, 'peermasq.yaml');
  writeFileSync(config, `clusters: {${cluster}: {pods: [10.244.0.0/16], masquerade: [peerings]}}`);
  const stack = startStack(aws, readDeployment(), { config });
  return {
    aws,
    stack,
    cluster,
    async close() {
      await stack.close();
      await aws.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/**
 * The API calls during a measurement. SQS calls are counted separately, because only EC2 and SSM limit the call rate.
 */
export interface AwsCalls {
  readonly ec2AndSsm: number;
  readonly sqs: number;
  readonly byAction: Readonly<Record<string, number>>;
  /** The number of throttled calls. */
  readonly callsOverLimit: number;
}

const ofSqs = new Set(['ChangeMessageVisibilityBatch', 'SendMessage']);

export function countAwsCalls({ allCalls, callsOverLimit }: LocalAws): AwsCalls {
  const byAction: Record<string, number> = {};
  for (const { action } of allCalls) byAction[action] = (byAction[action] ?? 0) + 1;
  const sqs = allCalls.filter(({ action }) => ofSqs.has(action)).length;
  return { ec2AndSsm: allCalls.length - sqs, sqs, byAction, callsOverLimit };
}
