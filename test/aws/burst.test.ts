import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { makeDocument } from '../../infra/aws/document';
import { makeClients, type Clients } from '../../shared/aws/client/clients';
import { makeCloud } from '../../shared/aws/cloud';
import { parseEvent } from '../../shared/aws/events/parse-event';
import { runInstances } from '../../shared/aws/events/run-instances';
import { documentName } from '../../shared/aws/names';
import { parseConfig } from '../../shared/core/model/config';
import { reconcile } from '../../shared/core/reconcile/reconcile';
import { labAccount, labRegion, startLocalAws, type LocalAws } from '../lab/aws/cloud';
import { fakeNode } from '../lab/aws/fake-node';
import { subnetId, vpcId } from './cloud';

let aws: LocalAws;
let clients: Clients;

beforeEach(async () => {
  aws = await startLocalAws();
  Object.assign(process.env, aws.env);
  const { ec2, ssm, ...rest } = makeClients(labRegion);
  // Calls are not delayed here: the rate limiter has its own tests.
  clients = { ...rest, ec2, ssm, waitToSend: () => Promise.resolve() };
});
afterEach(async () => {
  clients.ec2.destroy();
  clients.ssm.destroy();
  await aws.close();
});

test('an event with 1,000 instances needs one lookup of nodes, and one command for every 50 nodes', async () => {
  aws.putDocument(documentName('test'), makeDocument('echo hello\n'));
  const routes = [{ destinationCidrBlock: '10.0.0.0/16', transitGatewayId: 'tgw-0123456789abcdef0' }];
  aws.addNetwork({ vpcId, cidrs: ['172.20.0.0/16'], subnetIds: [subnetId], routes });
  const ids = Array.from({ length: 1_000 }, () =>
    aws.addNode({ subnetId, cluster: 'shop', machine: fakeNode }),
  );
  const body = JSON.stringify(aws.runInstancesEvent(ids));
  const parsed = parseEvent(body, { region: labRegion, accounts: [labAccount] }, [runInstances]);
  const { outcomes } = await reconcile(
    parsed.kind === 'nodes-joined' ? parsed.nodes : [],
    {
      cloud: makeCloud(clients, { stage: 'test', firstPollMs: 20 }),
      config: parseConfig('clusters: {shop: {pods: [10.244.0.0/16], masquerade: [transit-gateways]}}'),
      clock: { now: () => Date.now() },
      log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    },
    { deadline: Date.now() + 18_000 },
  );
  expect(outcomes.filter(({ kind }) => kind === 'proven')).toHaveLength(1_000);
  const counts = ['DescribeInstances', 'DescribeInstanceInformation', 'SendCommand', 'CreateTags'];
  expect(counts.map((action) => aws.count(action))).toEqual([1, 20, 20, 2]);
});
