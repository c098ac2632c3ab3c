import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeDocument } from '../../infra/aws/document';
import { startAws, type LabAws } from '../lab/aws/aws';
import { invoke, sqsEvent } from '../lab/aws/invoke';
import { obedient } from '../lab/obedient';

const [vpcId, subnetId, peering] = [
  'vpc-0123456789abcdef0',
  'subnet-0123456789abcdef0',
  'pcx-0123456789abcdef0',
];
let aws: LabAws;
let folder: string;

beforeEach(async () => {
  aws = await startAws();
  folder = mkdtempSync(join(tmpdir(), 'peermasq-test-'));
  aws.putDocument('peermasq-apply-dev', makeDocument('echo hello\n'));
  aws.addNetwork({
    vpcId,
    cidrs: ['172.20.0.0/16'],
    subnetIds: [subnetId],
    routes: [{ destinationCidrBlock: '10.0.0.0/16', vpcPeeringConnectionId: peering }],
  });
  aws.state.peerings.push({ vpcPeeringConnectionId: peering, status: 'active' });
});

afterEach(async () => {
  await aws.settled();
  await aws.close();
  rmSync(folder, { recursive: true });
});

const goodConfig = 'clusters: {shop: {pods: [10.244.0.0/16], masquerade: [peerings]}}';

function call(name: string, event: unknown, config = goodConfig, env: Record<string, string> = {}) {
  const file = join(folder, 'peermasq.yaml');
  writeFileSync(file, config);
  return invoke(name, event, { ...aws.env, PEERMASQ_CONFIG: file, ...env });
}

const addNode = (isReady = true) => aws.addNode({ subnetId, cluster: 'shop', machine: obedient, isReady });
const messages = (log: readonly Record<string, unknown>[]) => log.map(({ message }) => message);

describe('node-joined', () => {
  test('a batch is one set of nodes: told twice, each is pushed once', async () => {
    const [one, other] = [addNode(), addNode()];
    const { answer, log } = await call(
      'node-joined',
      sqsEvent([aws.runInstancesEvent([one, other]), aws.stateChangeEvent(one), aws.stateChangeEvent(other)]),
    );
    expect(answer).toEqual({ batchItemFailures: [] });
    expect(messages(log).filter((message) => message === 'NodeProven')).toHaveLength(2);
    expect([aws.count('DescribeInstances'), aws.count('SendCommand'), aws.count('CreateTags')]).toEqual([
      1, 1, 1,
    ]);
  });

  test('only the records with a node that is not dealt with go back to the queue', async () => {
    const [ready, notReady] = [addNode(), addNode(false)];
    const { answer, log } = await call(
      'node-joined',
      sqsEvent([
        aws.stateChangeEvent(ready),
        aws.stateChangeEvent(notReady),
        aws.runInstancesEvent([ready, notReady]),
        'not JSON at all {',
        { source: 'aws.s3', 'detail-type': 'Object Created', detail: {} },
      ]),
    );
    expect(answer).toEqual({
      batchItemFailures: [{ itemIdentifier: 'message-2' }, { itemIdentifier: 'message-3' }],
    });
    const ignored = log.filter(({ message }) => message === 'EventIgnored');
    expect(ignored.map(({ messageId }) => messageId)).toEqual(['message-4', 'message-5']);
    expect(ignored.every(({ reason }) => typeof reason === 'string' && reason.length > 0)).toBe(true);
  });

  test('a batch of foreign events is acknowledged without a call', async () => {
    const { answer } = await call('node-joined', sqsEvent(['', '[]', 'null', '{"source":"aws.ec2"}']));
    expect(answer).toEqual({ batchItemFailures: [] });
    expect(aws.calls).toEqual([]);
  });

  test('what concerns all nodes fails the invocation, so that nothing is acknowledged', async () => {
    aws.deny('ec2:DescribeInstances');
    const failure = call('node-joined', sqsEvent([aws.stateChangeEvent(addNode())]));
    await expect(failure).rejects.toThrow('ec2:DescribeInstances');
  });

  // In a process of its own: in jest's sandbox the SDK does not know the errors of Node.js as errors.
  test('an API that nobody answers for fails the invocation, to be tried again', async () => {
    const nowhere = { AWS_ENDPOINT_URL_EC2: 'http://127.0.0.1:1' };
    const failure = call('node-joined', sqsEvent([aws.stateChangeEvent(addNode())]), goodConfig, nowhere);
    await expect(failure).rejects.toThrow(/RetryableError: ec2:DescribeInstances failed: .*ECONNREFUSED/);
  });

  test('nodes of another account or region are left to its own deployment', async () => {
    const event = aws.stateChangeEvent(addNode());
    const elsewhere = [
      { ...event, account: '210987654321' },
      { ...event, region: 'eu-west-1' },
    ];
    const { answer, log } = await call('node-joined', sqsEvent(elsewhere));
    expect(answer).toEqual({ batchItemFailures: [] });
    expect(messages(log)).toEqual(['EventIgnored', 'EventIgnored']);
    expect(aws.calls).toEqual([]);
  });

  test('a bad config stops the function with every fault', async () => {
    const bad = 'clusters: {shop: {pods: [10.244.0.1/16], masquerade: [peering]}}';
    const failure = call('node-joined', sqsEvent([aws.stateChangeEvent(addNode())]), bad);
    await expect(failure).rejects.toThrow(/has 2 faults:[^]*host bits set[^]*read "peering"/);
    expect(aws.calls).toEqual([]);
  });
});

describe('backfill', () => {
  test('a dry run shows the rule sets and changes nothing; the run after it applies them', async () => {
    const id = addNode();
    const dry = await call('backfill', { dryRun: true });
    expect(dry.answer).toMatchObject({
      dryRun: true,
      counts: { planned: 1 },
      nodes: [
        {
          node: `aws:${id}`,
          cluster: 'shop',
          outcome: 'planned',
          isChange: true,
          ruleSet: expect.stringContaining('masquerade 10.0.0.0/16 pcx-0123456789abcdef0\n'),
        },
      ],
    });
    expect(aws.count('SendCommand') + aws.count('CreateTags')).toBe(0);
    const { answer } = await call('backfill', { clusters: ['shop'] });
    expect(answer).toMatchObject({ dryRun: false, counts: { proven: 1 } });
    const again = await call('backfill', { dryRun: true });
    expect(again.answer).toMatchObject({ nodes: [{ isChange: false }] });
  });

  test('a request that is not understood says what is accepted', async () => {
    await expect(call('backfill', { dryrun: true })).rejects.toThrow(/dryrun[^]*bad-request/);
    expect(aws.calls).toEqual([]);
  });
});
