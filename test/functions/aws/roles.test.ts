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
  generation: 1,
  randomFully: true,
  sources: [],
  exemptions: [],
  destinations: [],
  probes: [],
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

interface Attempt {
  readonly functionName: string;
  readonly title: string;
  readonly call: () => Promise<unknown>;
  /** A part of the expected error's code, or `nothing` if the call is allowed. */
  readonly error: string;
}

const attempt = (functionName: string, title: string, call: Attempt['call']) => ({
  allowed: { functionName, title: `may ${title}`, call, error: 'nothing' },
  deniedWith: (error: string) => ({ functionName, title: `may not ${title}`, call, error }),
});
const memberRole = memberRoleName('dev', labRegion);

test.each<Attempt>([
  attempt('node-joined', 'send a command to a node of its cluster', sendCommand('dev', 'shop')).allowed,
  attempt(
    'node-joined',
    'send a command to a node of another cluster',
    sendCommand('dev', 'other'),
  ).deniedWith('AccessDeniedException'),
  attempt(
    'node-joined',
    'send a command with the document of another stage',
    sendCommand('prod', 'shop'),
  ).deniedWith('AccessDeniedException'),
  attempt('node-joined', 'write the tag Name', tag('Name')).deniedWith('UnauthorizedOperation'),
  attempt('node-joined', 'send to the dead-letter queue', sendMessage('dead-letters')).allowed,
  attempt('node-joined', 'send to its own queue', sendMessage('nodes')).deniedWith('AccessDeniedException'),
  attempt('command-finished', 'send a command', sendCommand('dev', 'shop')).deniedWith(
    'AccessDeniedException',
  ),
  attempt('command-finished', 'describe routes', readRoutes).deniedWith('UnauthorizedOperation'),
  attempt('command-finished', 'write the status tag', tag('peermasq:status')).allowed,
  attempt('sweep', 'send to the dead-letter queue', sendMessage('dead-letters')).deniedWith(
    'AccessDeniedException',
  ),
  attempt('sweep', 'describe routes', readRoutes).allowed,
  attempt('sweep', 'assume the role of a member account', assumeMemberRole(memberRole)).allowed,
  attempt('sweep', 'assume another role of a member account', assumeMemberRole('administrator')).deniedWith(
    'AccessDenied',
  ),
])('$functionName $title', async ({ functionName, call, error }) => {
  const { role } = functions.find(({ name }) => name === functionName) ?? {};
  if (!role) throw new Error(`${functionName} has no role`);
  Object.assign(process.env, aws.env, aws.envForRole(role));
  expect(await errorCodeOf(call())).toBe(error);
});
