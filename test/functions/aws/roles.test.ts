import { CreateTagsCommand, DescribeRouteTablesCommand, EC2Client } from '@aws-sdk/client-ec2';
import { SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { SendCommandCommand, SSMClient } from '@aws-sdk/client-ssm';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { makeDocument } from '../../../infra/aws/document';
import { documentName, memberRoleName } from '../../../shared/aws/names';
import { packRuleSet } from '../../../shared/core/model/rule-set';
import { labRegion, startLocalAws, type LocalAws } from '../../lab/aws/cloud';
import { readDeployment } from '../../lab/aws/deployment';
import { errorCodeOf } from '../../lab/aws/errors';
import { fakeNode } from '../../lab/aws/fake-node';

const member = '222222222222';
const { functions } = readDeployment({ params: { memberAccounts: member }, clusters: ['shop'] });
const subnetId = 'subnet-0123456789abcdef0';
const before = { ...process.env };

let aws: LocalAws;
beforeEach(async () => {
  aws = await startLocalAws();
  const network = { vpcId: 'vpc-0123456789abcdef0', cidrs: ['172.20.0.0/16'], subnetIds: [subnetId] };
  aws.addNetwork(network);
  for (const stage of ['dev', 'prod']) aws.putDocument(documentName(stage), makeDocument('echo hello\n'));
  for (const name of ['nodes', 'dead-letters'])
    aws.addQueue({ name: `peermasq-dev-${name}`, visibilityTimeout: 30, delaySeconds: 0 });
  aws.addAccount(member, { roleName: memberRoleName('dev', labRegion) });
});
afterEach(async () => {
  process.env = { ...before };
  await aws.close();
});

const ruleSet = packRuleSet({
  ...{ generation: 1, randomFully: true },
  ...{ sources: [], exemptions: [], destinations: [], probes: [] },
});
const settings = { region: labRegion, maxAttempts: 1 };

const sendCommand = (stage: string, cluster: string) => () =>
  new SSMClient(settings).send(
    new SendCommandCommand({
      DocumentName: documentName(stage),
      InstanceIds: [aws.addNode({ subnetId, cluster, machine: fakeNode })],
      Parameters: { ruleset: [ruleSet] },
    }),
  );
const tag = (Key: string) => () =>
  new EC2Client(settings).send(
    new CreateTagsCommand({ Resources: [aws.addNode({ subnetId })], Tags: [{ Key, Value: 'x' }] }),
  );
const readRoutes = () => new EC2Client(settings).send(new DescribeRouteTablesCommand());
const sendMessage = (queue: string) => () =>
  new SQSClient(settings).send(
    new SendMessageCommand({ QueueUrl: aws.queueUrl(`peermasq-dev-${queue}`), MessageBody: 'x' }),
  );
const assumeMemberRole = (roleName: string) => () =>
  new STSClient(settings).send(
    new AssumeRoleCommand({
      RoleArn: `arn:aws:iam::${member}:role/${roleName}`,
      RoleSessionName: 'peermasq',
    }),
  );

test.each<[string, string, () => Promise<unknown>, string]>([
  ['node-joined', 'may send a command to a node of its cluster', sendCommand('dev', 'shop'), 'nothing'],
  [
    'node-joined',
    'may not send a command to a node of another cluster',
    sendCommand('dev', 'other'),
    'AccessDeniedException',
  ],
  ['node-joined', 'may not send another document', sendCommand('prod', 'shop'), 'AccessDeniedException'],
  ['command-finished', 'may not send a command', sendCommand('dev', 'shop'), 'AccessDeniedException'],
  ['command-finished', 'may not describe routes', readRoutes, 'UnauthorizedOperation'],
  ['command-finished', 'may write the status tag', tag('peermasq:status'), 'nothing'],
  ['node-joined', 'may not write another tag', tag('Name'), 'UnauthorizedOperation'],
  ['node-joined', 'may send to the dead-letter queue', sendMessage('dead-letters'), 'nothing'],
  ['node-joined', 'may not send to its own queue', sendMessage('nodes'), 'AccessDeniedException'],
  ['sweep', 'may not send to the dead-letter queue', sendMessage('dead-letters'), 'AccessDeniedException'],
  ['sweep', 'may describe routes', readRoutes, 'nothing'],
  [
    'sweep',
    'may assume the role of a member account',
    assumeMemberRole(memberRoleName('dev', labRegion)),
    'nothing',
  ],
  ['sweep', 'may not assume another role there', assumeMemberRole('administrator'), 'AccessDenied'],
])('%s %s', async (name, _, call, errorCode) => {
  const { role } = functions.find((one) => one.name === name) ?? {};
  if (!role) throw new Error(`${name} has no role`);
  Object.assign(process.env, aws.env, aws.envForRole(role));
  expect(await errorCodeOf(call())).toBe(errorCode);
});
