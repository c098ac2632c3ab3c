import {
  AutoScalingClient,
  CompleteLifecycleActionCommand,
  type CompleteLifecycleActionCommandInput,
  DescribeAutoScalingGroupsCommand,
} from '@aws-sdk/client-auto-scaling';
import { DescribeInstancesCommand, EC2Client } from '@aws-sdk/client-ec2';
import { SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { SendCommandCommand, SSMClient } from '@aws-sdk/client-ssm';
import {
  AssumeRoleCommand,
  type AssumeRoleCommandInput,
  GetCallerIdentityCommand,
  STSClient,
} from '@aws-sdk/client-sts';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { LabAccount } from './account';
import { labRegion, startLocalAws, type LocalAws } from './cloud';
import { errorCodeOf } from './errors';

const [subnetId, vpcId, cidrs] = ['subnet-0123456789abcdef0', 'vpc-0123456789abcdef0', ['172.20.0.0/16']];
const memberId = '222222222222';
const RoleArn = `arn:aws:iam::${memberId}:role/member`;

let aws: LocalAws;
let member: LabAccount;
let closing: { destroy(): void }[];

beforeEach(async () => {
  aws = await startLocalAws();
  Object.assign(process.env, aws.env);
  member = aws.addAccount(memberId, { roleName: 'member' });
  for (const account of [aws, member]) account.addNetwork({ vpcId, cidrs, subnetIds: [subnetId] });
  closing = [];
});
afterEach(async () => {
  for (const client of closing) client.destroy();
  await aws.close();
});

function ending<T extends { destroy(): void }>(client: T): T {
  closing.push(client);
  return client;
}

async function assume(changes: Partial<AssumeRoleCommandInput> = {}) {
  const sts = ending(new STSClient({ region: labRegion }));
  const { Credentials } = await sts.send(
    new AssumeRoleCommand({ RoleArn, RoleSessionName: 'peermasq', ...changes }),
  );
  if (!Credentials?.AccessKeyId || !Credentials.SecretAccessKey) throw new Error('no credentials');
  return {
    accessKeyId: Credentials.AccessKeyId,
    secretAccessKey: Credentials.SecretAccessKey,
    sessionToken: Credentials.SessionToken ?? '',
    expiration: Credentials.Expiration ?? new Date(0),
  };
}

async function instancesWith(settings: ConstructorParameters<typeof EC2Client>[0]) {
  const ec2 = ending(new EC2Client({ region: labRegion, maxAttempts: 1, ...settings }));
  const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand());
  return Reservations.flatMap(({ Instances = [] }) => Instances.map(({ InstanceId }) => InstanceId));
}

describe('the local STS rejects', () => {
  test.each<[string, Partial<AssumeRoleCommandInput>, string]>([
    ['an unknown role', { RoleArn: `arn:aws:iam::${memberId}:role/other` }, 'AccessDenied'],
    ['an invalid role', { RoleArn: 'member' }, 'ValidationError'],
    ['a session name with a space', { RoleSessionName: 'a b' }, 'ValidationError'],
    ['899 seconds', { DurationSeconds: 899 }, 'ValidationError'],
    ['more than an hour', { DurationSeconds: 3_601 }, 'ValidationError'],
    ['an unsupported parameter', { ExternalId: 'xx' }, 'ValidationError'],
  ])('%s', async (_, changes, code) => {
    expect(await errorCodeOf(assume(changes))).toBe(code);
  });

  test('an unsupported action', async () => {
    const sts = ending(new STSClient({ region: labRegion }));
    expect(await errorCodeOf(sts.send(new GetCallerIdentityCommand()))).toBe('InvalidAction');
  });
});

describe('a member account in the local AWS', () => {
  test('accepts the credentials of its role, and counts calls to it separately', async () => {
    const [mine, theirs] = [aws.addNode({ subnetId }), member.addNode({ subnetId })];
    const credentials = await assume({ DurationSeconds: 900 });
    expect(await instancesWith({})).toEqual([mine]);
    expect(await instancesWith({ credentials })).toEqual([theirs]);
    expect([aws.count('DescribeInstances'), member.count('DescribeInstances')]).toEqual([1, 1]);
    expect(aws.allCalls.map(({ action }) => action)).toEqual([
      'AssumeRole',
      'DescribeInstances',
      'DescribeInstances',
    ]);
    const seconds = (credentials.expiration.getTime() - Date.now()) / 1_000;
    expect(seconds).toBeGreaterThan(890);
    expect(seconds).toBeLessThanOrEqual(900);
  });

  test.each([
    ['with a different session token', { sessionToken: 'x' }],
    ['without its session token', { sessionToken: '' }],
    ['with an unknown key', { accessKeyId: 'ASIAXXXXXXXXXXXXXXXX' }],
  ])('rejects credentials %s', async (_, changes) => {
    const credentials = { ...(await assume()), ...changes };
    expect(await errorCodeOf(instancesWith({ credentials }))).toBe('AuthFailure');
    expect(member.calls).toEqual([]);
  });

  test('emits events that contain its account ID', () => {
    expect(member.stateChangeEvent(member.addNode({ subnetId }))).toMatchObject({ account: memberId });
  });
});

test.each([
  ['another region', { region: 'eu-west-1' }, 'AuthFailure'],
  ['unknown credentials', { credentials: { accessKeyId: 'AKIAX', secretAccessKey: 'x' } }, 'AuthFailure'],
])('a call with %s is rejected', async (_, settings, code) => {
  expect(await errorCodeOf(instancesWith(settings))).toBe(code);
});

describe('the local Auto Scaling', () => {
  const complete = (changes: Partial<CompleteLifecycleActionCommandInput>) => {
    const client = ending(new AutoScalingClient({ region: labRegion }));
    return client.send(
      new CompleteLifecycleActionCommand({
        AutoScalingGroupName: 'nodes',
        LifecycleHookName: 'peermasq',
        LifecycleActionResult: 'CONTINUE',
        ...changes,
      }),
    );
  };
  let InstanceId: string;
  beforeEach(() => {
    InstanceId = aws.addNode({ subnetId });
  });

  test.each(['CONTINUE', 'ABANDON'])(
    'accepts one completion of a pending lifecycle action, with %s',
    async (result) => {
      const event = aws.startLifecycleAction(InstanceId, 'nodes', 'peermasq');
      expect(event).toMatchObject({ detail: { EC2InstanceId: InstanceId, AutoScalingGroupName: 'nodes' } });
      const { token = '' } = aws.state.lifecycleActions[0] ?? {};
      const request = { InstanceId, LifecycleActionToken: token, LifecycleActionResult: result };
      await complete(request);
      expect(aws.state.lifecycleActions).toMatchObject([{ instanceId: InstanceId, result }]);
      expect(await errorCodeOf(complete(request))).toBe('ValidationError');
    },
  );

  test.each<[string, Partial<CompleteLifecycleActionCommandInput>]>([
    ['another group', { AutoScalingGroupName: 'other' }],
    ['another hook', { LifecycleHookName: 'other' }],
    ['another instance', { InstanceId: 'i-0aaaaaaaaaaaaaaaa' }],
    ['another token', { LifecycleActionToken: crypto.randomUUID() }],
    ['another result', { LifecycleActionResult: 'RETRY' }],
    ['neither instance nor token', { InstanceId: undefined }],
  ])('rejects the completion with %s', async (_, changes) => {
    aws.startLifecycleAction(InstanceId, 'nodes', 'peermasq');
    expect(await errorCodeOf(complete({ InstanceId, ...changes }))).toBe('ValidationError');
  });

  test('rejects a completion with an error that names the instance if the instance has no pending action', async () => {
    await expect(complete({ InstanceId })).rejects.toThrow(
      `No active Lifecycle Action found with instance ID ${InstanceId}`,
    );
  });

  test('rejects an unsupported action', async () => {
    const client = ending(new AutoScalingClient({ region: labRegion }));
    expect(await errorCodeOf(client.send(new DescribeAutoScalingGroupsCommand()))).toBe('InvalidAction');
  });
});

describe("the local AWS uses the service's own error message when", () => {
  const sends: [string, string, () => Promise<unknown>, string, string][] = [
    [
      'EC2',
      'ec2:DescribeInstances',
      () => instancesWith({}),
      'UnauthorizedOperation',
      'RequestLimitExceeded',
    ],
    [
      'SSM',
      'ssm:SendCommand',
      () =>
        ending(new SSMClient({ region: labRegion, maxAttempts: 1 })).send(
          new SendCommandCommand({ DocumentName: 'document' }),
        ),
      'AccessDeniedException',
      'ThrottlingException',
    ],
    [
      'SQS',
      'sqs:SendMessage',
      () =>
        ending(new SQSClient({ region: labRegion, maxAttempts: 1 })).send(
          new SendMessageCommand({ QueueUrl: aws.queueUrl('nodes'), MessageBody: 'x' }),
        ),
      'AccessDeniedException',
      'RequestThrottled',
    ],
    [
      'Auto Scaling',
      'autoscaling:CompleteLifecycleAction',
      () =>
        ending(new AutoScalingClient({ region: labRegion, maxAttempts: 1 })).send(
          new CompleteLifecycleActionCommand({
            AutoScalingGroupName: 'nodes',
            LifecycleHookName: 'peermasq',
            LifecycleActionResult: 'CONTINUE',
          }),
        ),
      'AccessDenied',
      'Throttling',
    ],
    [
      'STS',
      'sts:AssumeRole',
      () =>
        ending(new STSClient({ region: labRegion, maxAttempts: 1 })).send(
          new AssumeRoleCommand({ RoleArn, RoleSessionName: 'peermasq' }),
        ),
      'AccessDenied',
      'Throttling',
    ],
  ];
  test.each(sends)('%s denies or throttles a call', async (_, action, send, denied, throttled) => {
    aws.throttle(action.replace(/^\w+:/, ''), 1);
    expect(await errorCodeOf(send())).toBe(throttled);
    aws.deny(action);
    expect(await errorCodeOf(send())).toBe(denied);
  });
});
