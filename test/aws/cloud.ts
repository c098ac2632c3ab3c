import { makeCloud } from '../../shared/aws/cloud';
import { makeClients, type Clients } from '../../shared/aws/client/clients';
import type { AwsNode } from '../../shared/aws/discover/nodes';
import type { Cloud } from '../../shared/core/cloud';
import { labRegion, startLocalAws, type LocalAws } from '../lab/aws/cloud';

/** Starts a local AWS and returns it with the AWS adapter, which uses the official clients. */
export async function startCloud(): Promise<{
  aws: LocalAws;
  clients: Clients;
  cloud: Cloud<AwsNode>;
  close: () => Promise<void>;
}> {
  const aws = await startLocalAws();
  const before = { ...process.env };
  Object.assign(process.env, aws.env);
  const clients = makeClients(labRegion);
  const cloud = makeCloud(clients, { stage: 'test', firstPollMs: 20 });
  return {
    aws,
    clients,
    cloud,
    async close() {
      process.env = before;
      clients.ec2.destroy();
      clients.ssm.destroy();
      await aws.close();
    },
  };
}

export const soon = () => Date.now() + 8_000;

export const vpcId = 'vpc-0123456789abcdef0';
export const subnetId = 'subnet-0123456789abcdef0';
