import { DescribeInstancesCommand, EC2Client } from '@aws-sdk/client-ec2';
import { expect, test } from '@jest/globals';
import { labRegion, startLocalAws } from './cloud';
import { makeRateLimits } from './rate-limits';
import { errorCodeOf } from './errors';

test.each([
  ['ec2', 'DescribeInstances', 100, 20],
  ['ssm', 'ListCommandInvocations', 100, 20],
  ['ssm', 'GetCommandInvocation', 100, 20],
  ['ec2', 'CreateTags', 50, 5],
  ['ssm', 'SendCommand', 5, 5],
])(
  'the local AWS limits %s %s to a burst of %i calls and to %i calls per second',
  (service, action, size, perSecond) => {
    let now = 0;
    const rateLimits = makeRateLimits(() => now);
    const takeAll = () => {
      let taken = 0;
      while (rateLimits.take(service, action)) taken += 1;
      return taken;
    };
    expect(takeAll()).toBe(size);
    now = 1_000;
    expect(takeAll()).toBe(perSecond);
    now = 3_600_000;
    expect(takeAll()).toBe(size);
    expect(rateLimits.callsOverLimit).toBe(3);
  },
);

test('rate limits are separate for each service and each kind of call, and SQS has no rate limit', () => {
  const rateLimits = makeRateLimits(() => 0);
  for (let i = 0; i < 5; i += 1) rateLimits.take('ssm', 'SendCommand');
  const others = [
    ['ssm', 'ListCommands'],
    ['ec2', 'CreateTags'],
    ...Array.from({ length: 200 }, () => ['sqs', 'SendMessage']),
  ];
  expect(others.every(([service = '', action = '']) => rateLimits.take(service, action))).toBe(true);
  expect(rateLimits.take('ssm', 'SendCommand')).toBe(false);
});

test('the local AWS throttles and counts calls once rate limits are enabled', async () => {
  const aws = await startLocalAws();
  Object.assign(process.env, aws.env);
  const ec2 = new EC2Client({ region: labRegion, maxAttempts: 1 });
  const describeInstances = (times: number) =>
    Promise.all(Array.from({ length: times }, () => errorCodeOf(ec2.send(new DescribeInstancesCommand()))));
  expect(new Set(await describeInstances(110))).toEqual(new Set(['nothing']));
  aws.enableRateLimits();
  const answers = await describeInstances(150);
  const refused = answers.filter((answer) => answer === 'RequestLimitExceeded');
  expect(refused.length).toBeGreaterThan(0);
  expect(aws.callsOverLimit).toBe(refused.length);
  ec2.destroy();
  await aws.close();
});
