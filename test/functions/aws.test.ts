import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeDocument } from '../../infra/aws/document';
import { documentName, memberRoleName } from '../../shared/aws/names';
import type { LabAccount, NewNode } from '../lab/aws/account';
import { labRegion, startAws, type LabAws } from '../lab/aws/aws';
import { readDeployment } from '../lab/aws/deployment';
import { startStack, type LabStack } from '../lab/aws/stack';
import type { LabRoute } from '../lab/aws/state';
import type { Machine } from '../lab/machine';
import { obedient } from '../lab/obedient';

const [vpcId, subnetId, peering] = [
  'vpc-0123456789abcdef0',
  'subnet-0123456789abcdef0',
  'pcx-0123456789abcdef0',
];
const routeTo = (destinationCidrBlock: string): LabRoute => ({
  destinationCidrBlock,
  vpcPeeringConnectionId: peering,
});
const config = 'clusters: {shop: {pods: [10.244.0.0/16], masquerade: [peerings]}}';

let aws: LabAws;
let folder: string;
let stack: LabStack;

beforeEach(async () => {
  aws = await startAws();
  folder = mkdtempSync(join(tmpdir(), 'peermasq-test-'));
  prepare(aws);
});

afterEach(async () => {
  await stack.close();
  await aws.close();
  rmSync(folder, { recursive: true });
});

/** The network, the peering and the document of an account. */
function prepare(account: LabAccount): void {
  account.putDocument(documentName('dev'), makeDocument('echo hello\n'));
  account.addNetwork({
    vpcId,
    cidrs: ['172.20.0.0/16'],
    subnetIds: [subnetId],
    routes: [routeTo('10.0.0.0/16')],
  });
  account.state.peerings.push({ vpcPeeringConnectionId: peering, status: 'active' });
}

interface Deployed {
  readonly config?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Of node-joined, instead of what serverless.yml says. */
  readonly timeoutSeconds?: number;
  /** Of all queues, instead of what infra/aws says. */
  readonly delaySeconds?: number;
}

/** What serverless.yml deploys, with seconds of the queues that last 20 ms. */
function deploy({ config: text = config, env = {}, timeoutSeconds, ...options }: Deployed = {}): void {
  const file = join(folder, 'peermasq.yaml');
  writeFileSync(file, text);
  const deployment = readDeployment(options);
  const functions = deployment.functions.map((one) =>
    one.name === 'node-joined' && timeoutSeconds !== undefined ? { ...one, timeoutSeconds } : one,
  );
  stack = startStack(aws, { ...deployment, functions }, { config: file, env, secondMs: 20 });
}

/** An objective that is over after some deliveries of the queue: milliseconds. */
const objective = (ms: number) => ({ PEERMASQ_OBJECTIVE_MINUTES: String(ms / 60_000) });

const addNode = (node: Partial<NewNode> = {}, account: LabAccount = aws): string =>
  account.addNode({ subnetId, cluster: 'shop', machine: obedient, ...node });
const logged = (message: string) => stack.log.filter((entry) => entry['message'] === message);
const nodesLogged = (message: string) => logged(message).map((entry) => entry['node']);
const statusOf = (id: string, { state }: LabAccount = aws) =>
  state.instances.get(id)?.tags.get('peermasq:status');
const buried = () => stack.deadLetters.map(({ attributes }) => attributes['reason']?.StringValue ?? '');
const call = (eventName: string) => ({
  ...aws.runInstancesEvent([]),
  detail: { eventSource: 'ec2.amazonaws.com', eventName },
});

/** The sum of a metric that the functions wrote, and how often, by the dimensions given. */
function metric(name: string, dimensions: Readonly<Record<string, string>> = {}): number[] {
  return stack.log
    .filter((entry) => '_aws' in entry && name in entry)
    .filter((entry) => Object.entries(dimensions).every(([key, value]) => entry[key] === value))
    .flatMap((entry) => entry[name] as number | number[]);
}

describe('nodes that join', () => {
  test('a batch is one set of nodes: told three times, each is pushed to once', async () => {
    deploy();
    const [one, other] = [addNode(), addNode()];
    for (const event of [
      aws.runInstancesEvent([one, other]),
      aws.stateChangeEvent(one),
      aws.stateChangeEvent(other),
    ])
      stack.put(event);
    await stack.idle();
    expect(nodesLogged('NodeProven').toSorted()).toEqual(expect.arrayContaining([one, other]));
    expect(aws.count('SendCommand')).toBe(1);
    expect(statusOf(one)).toMatch(/^proven \S+ routes=1$/);
    expect(stack.deadLetters).toEqual([]);
    expect(stack.failures).toEqual([]);
  });

  test('a node whose agent is not online comes again, later each time, until it is served', async () => {
    deploy();
    const id = addNode({ registersAfterMs: 1_500 });
    stack.put(aws.stateChangeEvent(id));
    await stack.idle();
    const waits = aws.calls
      .filter(({ action }) => action === 'ChangeMessageVisibilityBatch')
      .map(
        ({ input }) => (input as { Entries: [{ VisibilityTimeout: number }] }).Entries[0].VisibilityTimeout,
      );
    expect(waits.slice(0, 3)).toEqual([5, 10, 20]);
    expect(nodesLogged('NodeProven')).toEqual([id]);
  });

  test('a node that is not served in time is given up, with its reason in the dead-letter queue', async () => {
    deploy({ env: objective(700) });
    const [id, served] = [addNode({ isReady: false }), addNode()];
    stack.put(aws.stateChangeEvent(id));
    stack.put(aws.stateChangeEvent(served));
    await stack.idle();
    expect(nodesLogged('NodeProven')).toEqual([served]);
    expect(logged('NodeGaveUp')).toMatchObject([
      { node: id, cluster: 'shop', severity: 'ERROR', reason: 'its SSM agent is not online' },
    ]);
    expect(buried()).toEqual([`aws:${id}: its SSM agent is not online`]);
    expect(stack.deadLetters[0]?.body).toContain(id);
  });

  test('poison ends in the dead-letter queue with its reason, and its batch is served', async () => {
    deploy();
    const id = addNode();
    stack.queue('nodes').send('not JSON at all {');
    stack.queue('nodes').send(JSON.stringify({ ...aws.stateChangeEvent(id), detail: { state: 'running' } }));
    stack.queue('nodes').send(JSON.stringify({ ...aws.stateChangeEvent(id), source: 'aws.s3' }));
    stack.queue('nodes').send(JSON.stringify({ Event: 'autoscaling:TEST_NOTIFICATION' }));
    stack.put(aws.stateChangeEvent(id));
    await stack.idle();
    expect(nodesLogged('NodeProven')).toEqual([id]);
    expect(buried().toSorted()).toEqual([
      'The message body is not JSON.',
      expect.stringMatching(/^malformed aws\.ec2: EC2 Instance State-change Notification: instance-id/),
    ]);
    expect(logged('EventIgnored')).toHaveLength(2);
  });

  test('nothing is acknowledged while the API is denied; then the statement that grants it is named', async () => {
    deploy({ env: objective(500) });
    const id = addNode();
    aws.deny('ec2:DescribeInstances');
    stack.put(aws.stateChangeEvent(id));
    await stack.idle();
    expect(buried()).toEqual([expect.stringMatching(/ec2:DescribeInstances.*its statement LookUpNodes/)]);
    expect(logged('ReconcileFailed')[0]).toMatchObject({ code: 'access-denied', severity: 'ERROR' });
  });

  test('an API that is throttled or down delays, and loses nothing', async () => {
    deploy();
    const id = addNode();
    aws.throttle('DescribeInstances', 4);
    aws.fail('SendCommand', 'InternalServerError', 'try again', 4, 500);
    stack.put(aws.stateChangeEvent(id));
    await stack.idle();
    expect(nodesLogged('NodeProven')).toEqual([id]);
    expect(metric('ApiThrottles').reduce((sum, count) => sum + count, 0)).toBe(4);
  });

  test('a message that cannot be buried stays in its queue', async () => {
    deploy();
    aws.deny('sqs:SendMessage');
    stack.queue('nodes').send('poison');
    await aws.settled();
    await until(() => logged('BuryFailed').length > 0);
    expect(stack.queue('nodes').size).toBe(1);
    expect(logged('BuryFailed')[0]).toMatchObject({
      advice: expect.stringContaining('its statement GiveUp'),
    });
  });

  test.each<[string, Partial<NewNode>]>([
    ['not-configured', { cluster: 'other' }],
    ['no-cluster', { tags: {}, cluster: undefined as never }],
    ['ambiguous-cluster', { tags: { 'eks:cluster-name': 'other' } }],
    ['windows', { platformDetails: 'Windows' }],
    ['bottlerocket', { imageId: 'ami-0b0771e40c4e70000' }],
    ['not-running', { state: 'terminated' }],
    ['not-running', { state: 'stopped' }],
    ['control-plane', { tags: { 'k8s.io/role/control-plane': '1' } }],
    ['nothing-to-masquerade', { subnetId: 'subnet-0aaaaaaaaaaaaaaaa' }],
  ])('that are not ours to serve are skipped, as %s', async (reason, node) => {
    deploy({
      config: 'clusters: {shop: {pods: [10.244.0.0/16], control-plane: false, masquerade: [peerings]}}',
    });
    aws.state.images.set('ami-0b0771e40c4e70000', {
      name: 'bottlerocket-aws-k8s-1.34-x86_64-v1.50.0',
      isDeprecated: false,
    });
    aws.addNetwork({
      vpcId: 'vpc-0aaaaaaaaaaaaaaaa',
      cidrs: ['172.21.0.0/16'],
      subnetIds: ['subnet-0aaaaaaaaaaaaaaaa'],
    });
    const id = addNode(node);
    stack.put(aws.runInstancesEvent([id]));
    await stack.idle();
    expect(logged('NodeSkipped')).toMatchObject([{ node: id, reason }]);
    expect(aws.count('SendCommand')).toBe(0);
    expect(stack.deadLetters).toEqual([]);
  });

  test('one that is terminated while it waits for its agent is skipped then', async () => {
    deploy();
    const id = addNode({ isReady: false });
    stack.put(aws.stateChangeEvent(id));
    await until(() => nodesLogged('NodePending').includes(id));
    const instance = aws.state.instances.get(id);
    if (instance) instance.state = 'terminated';
    await stack.idle();
    expect(logged('NodeSkipped')).toMatchObject([{ node: id, reason: 'not-running' }]);
    expect(stack.deadLetters).toEqual([]);
  });

  test('how long the first proof took is a metric, by stage and by cluster', async () => {
    deploy();
    stack.put({ ...aws.stateChangeEvent(addNode()), time: new Date(Date.now() - 30_000).toISOString() });
    await stack.idle();
    const [seconds = 0] = metric('SecondsToProven', { cloud: 'aws', stage: 'dev', cluster: 'shop' });
    expect(seconds).toBeGreaterThanOrEqual(30);
    expect(seconds).toBeLessThan(60);
    expect(metric('NodesProven')).toEqual([1]);
  });
});

/** A node that does not get its rules in force for the first times. */
function failing(times: number): Machine {
  let left = times;
  return {
    run: async (argv, options) => {
      const finished = await obedient.run(argv, options);
      if (left-- <= 0) return finished;
      return { ...finished, stdout: finished.stdout.replace('"proven":true', '"proven":false') };
    },
  };
}

describe('results of commands', () => {
  test('a node that failed is tried again and proven then', async () => {
    // Looks take their time here, though seconds are short: results must not come before they end.
    deploy({ delaySeconds: 150 });
    const id = addNode({ machine: failing(2) });
    stack.put(aws.stateChangeEvent(id));
    await stack.idle();
    expect(nodesLogged('NodeFailed')).toEqual([id, id]);
    expect(nodesLogged('NodeProven')).toEqual([id]);
    expect(statusOf(id)).toMatch(/^proven/);
  }, 20_000);

  test('a node that goes on failing is given up, and its tag says that it failed', async () => {
    deploy({ env: objective(2_500) });
    const id = addNode({ machine: failing(99) });
    stack.put(aws.stateChangeEvent(id));
    await stack.idle();
    expect(nodesLogged('NodeGaveUp')).toEqual([id]);
    expect(buried()).toEqual([expect.stringContaining('not proven')]);
    expect(statusOf(id)).toMatch(/^failed/);
  }, 20_000);

  test('an answer that comes too late for the batch is read when the command has ended', async () => {
    // Leaves node-joined a second to wait for answers.
    deploy({ timeoutSeconds: 8 });
    const id = addNode({ answersAfterMs: 2_500 });
    stack.put(aws.stateChangeEvent(id));
    await stack.idle();
    const proven = logged('NodeProven').map((entry) => [entry['function'], entry['node']]);
    expect(proven).toContainEqual(['command-finished', id]);
    expect(statusOf(id)).toMatch(/^proven \S+ routes=1$/);
    expect(aws.count('SendCommand')).toBe(1);
  }, 20_000);

  test('what the batch has read itself costs one look-up of nodes', async () => {
    deploy();
    const ids = [addNode(), addNode()];
    stack.put(aws.runInstancesEvent(ids));
    await stack.idle();
    expect(aws.count('ListCommandInvocations')).toBe(1);
    expect(aws.count('DescribeInstances')).toBe(2);
    expect(metric('NodesProven')).toEqual([2]);
  });
});

describe('changes of peerings and routes', () => {
  const table = () => aws.state.routeTables[0] ?? fail();
  const rulesOf = async (): Promise<string> => {
    const { answer } = await stack.invoke('backfill', { dryRun: true });
    return JSON.stringify(answer);
  };

  test('affected nodes get their new rule set, and nobody else is touched', async () => {
    deploy();
    const ids = [addNode(), addNode({ cluster: 'other' })];
    await stack.invoke('sweep', {});
    table().routes.push(routeTo('10.7.0.0/16'));
    stack.put(call('CreateRoute'));
    stack.put(call('CreateRoute'));
    await stack.idle();
    expect(logged('PeeringChanged')).toHaveLength(2);
    expect(aws.count('SendCommand')).toBe(2);
    expect(statusOf(ids[0] ?? '')).toMatch(/routes=2$/);
    expect(statusOf(ids[1] ?? '')).toBeUndefined();
  });

  test('what is far less than before is held and told, until somebody says that it is meant', async () => {
    deploy();
    table().routes.push(routeTo('10.7.0.0/16'), routeTo('10.9.0.0/16'));
    const id = addNode();
    await stack.invoke('sweep', {});
    table().routes.splice(1);
    stack.put(call('DeleteRoute'));
    await stack.idle();
    expect(logged('NodeHeld')).toMatchObject([{ node: id, severity: 'ERROR' }]);
    expect(metric('NodesHeld')).toEqual([1]);
    expect(aws.count('SendCommand')).toBe(1);
    await stack.invoke('backfill', { acceptLoss: true });
    expect(aws.count('SendCommand')).toBe(2);
    expect(statusOf(id)).toMatch(/^proven \S+ routes=1$/);
    expect(await rulesOf()).toContain('"isChange":false');
  });

  test('a peering that is still being set up is looked at again until it is active', async () => {
    deploy();
    const id = addNode();
    const added = 'pcx-0fedcba9876543210';
    await stack.invoke('sweep', {});
    aws.state.peerings.push({ vpcPeeringConnectionId: added, status: 'provisioning' });
    table().routes.push({ destinationCidrBlock: '10.7.0.0/16', vpcPeeringConnectionId: added });
    stack.put(call('AcceptVpcPeeringConnection'));
    await until(() => aws.count('ChangeMessageVisibilityBatch') > 0);
    aws.state.peerings.splice(1, 1, { vpcPeeringConnectionId: added, status: 'active' });
    await stack.idle();
    expect(statusOf(id)).toMatch(/routes=2$/);
    expect(stack.deadLetters).toEqual([]);
  });
});

describe('launches that wait', () => {
  const launches = () =>
    aws.calls
      .filter(({ action }) => action === 'CompleteLifecycleAction')
      .map(({ input }) => (input as { LifecycleActionResult: string }).LifecycleActionResult);
  const gate = (choice: string, ms = 600_000) => ({ PEERMASQ_LAUNCH_GATE: choice, ...objective(ms) });

  test('go on after the proof, and not before', async () => {
    deploy({ env: gate('abandon') });
    const id = addNode({ registersAfterMs: 1_000 });
    stack.put(aws.holdLaunch(id, 'workers', 'peermasq'));
    await until(() => nodesLogged('NodePending').includes(id));
    expect(launches()).toEqual([]);
    await stack.idle();
    expect(launches()).toEqual(['CONTINUE']);
    const order = aws.calls.map(({ action }) => action);
    expect(order.indexOf('CreateTags')).toBeLessThan(order.indexOf('CompleteLifecycleAction'));
    expect(statusOf(id)).toMatch(/^proven/);
  });

  test.each([
    ['abandon', 'ABANDON'],
    ['continue', 'CONTINUE'],
  ])('end by choice when the node is given up: %s', async (choice, verdict) => {
    deploy({ env: gate(choice, 500) });
    const id = addNode({ isReady: false });
    stack.put(aws.holdLaunch(id, 'workers', 'peermasq'));
    await stack.idle();
    expect(launches()).toEqual([verdict]);
    expect(nodesLogged('NodeGaveUp')).toEqual([id]);
  });

  test('go on for a node that needs no rules', async () => {
    deploy({ env: gate('abandon') });
    stack.put(aws.holdLaunch(addNode({ cluster: 'other' }), 'workers', 'peermasq'));
    await stack.idle();
    expect(launches()).toEqual(['CONTINUE']);
  });

  test.each([
    ['the hook is somebody else’s', 'abandon', 'warm-up'],
    ['the gate is not in use', 'off', 'peermasq'],
  ])('are left alone where %s', async (_, choice, hook) => {
    deploy({ env: gate(choice) });
    const id = addNode();
    stack.put(aws.holdLaunch(id, 'workers', hook));
    await stack.idle();
    expect(launches()).toEqual([]);
    expect(nodesLogged('NodeProven')).toEqual([id]);
  });

  test('are told again when Auto Scaling did not answer', async () => {
    deploy({ env: gate('abandon') });
    aws.fail('CompleteLifecycleAction', 'ServiceUnavailable', 'try again', 4, 503);
    stack.put(aws.holdLaunch(addNode(), 'workers', 'peermasq'));
    await stack.idle();
    expect(launches().at(-1)).toBe('CONTINUE');
    expect(logged('LaunchCompleted')).toMatchObject([{ isTold: true, verdict: 'CONTINUE' }]);
  });
});

describe('further accounts', () => {
  const member = '222222222222';
  const env = { PEERMASQ_MEMBER_ACCOUNTS: member, ...objective(1_000) };

  test('are served with their own role, by events and by sweeps', async () => {
    const account = aws.addAccount(member, { roleName: memberRoleName('dev', labRegion) });
    prepare(account);
    deploy({ env });
    const [own, joined, old] = [addNode(), addNode({}, account), addNode({}, account)];
    stack.put(account.stateChangeEvent(joined));
    await stack.idle();
    expect(statusOf(joined, account)).toMatch(/^proven/);
    await stack.invoke('sweep', {});
    expect([statusOf(own), statusOf(old, account)]).toEqual([
      expect.stringMatching(/^proven/),
      expect.stringMatching(/^proven/),
    ]);
  });

  test('that cannot be entered do not keep the others from their rules', async () => {
    aws.addAccount(member, { roleName: 'another' });
    deploy({ env });
    const own = addNode();
    stack.put(aws.stateChangeEvent(own));
    stack.put({ ...aws.stateChangeEvent(addNode()), account: member });
    await stack.idle();
    expect(statusOf(own)).toMatch(/^proven/);
    expect(buried()).toEqual([expect.stringContaining('its statement EnterMembers')]);
    await expect(stack.invoke('sweep', {})).rejects.toThrow('sts:AssumeRole');
    expect(metric('NodesUnproven', { cluster: 'shop' })).toEqual([0]);
  });

  test('that nobody named are left to their own deployment', async () => {
    deploy();
    stack.put({ ...aws.stateChangeEvent(addNode()), account: member });
    await stack.idle();
    expect(logged('EventIgnored')).toHaveLength(1);
    expect(aws.count('DescribeInstances')).toBe(0);
  });
});

describe('sweep and backfill', () => {
  test('a dry run shows the rule sets and changes nothing; the run after it applies them', async () => {
    deploy();
    const id = addNode();
    const dry = await stack.invoke('backfill', { dryRun: true });
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
    const { answer } = await stack.invoke('backfill', { clusters: ['shop'] });
    expect(answer).toMatchObject({ dryRun: false, counts: { proven: 1 } });
    const again = await stack.invoke('backfill', { dryRun: true });
    expect(again.answer).toMatchObject({ nodes: [{ isChange: false }] });
  });

  test('a sweep counts the nodes that had time enough and are not proven', async () => {
    deploy({ env: objective(60_000) });
    const launched = (minutes: number) => ({ isReady: false, minutes });
    for (const { minutes, ...node } of [launched(0), launched(5), launched(50)]) {
      const instance = aws.state.instances.get(addNode(node));
      if (instance) instance.launchTime = new Date(Date.now() - minutes * 60_000);
    }
    await stack.invoke('sweep', {});
    expect(metric('NodesUnproven', { cluster: 'shop' })).toEqual([2]);
    expect(logged('SweepFinished')).toMatchObject([{ counts: { pending: 3 } }]);
  });

  test('a request that is not understood says what is accepted', async () => {
    deploy();
    await expect(stack.invoke('backfill', { dryrun: true })).rejects.toThrow(/dryrun[^]*bad-request/);
    expect(aws.calls).toEqual([]);
  });
});

describe('a function that cannot work', () => {
  test('stops with every fault of the config', async () => {
    deploy({ config: 'clusters: {shop: {pods: [10.244.0.1/16], masquerade: [peering]}}' });
    const failure = stack.invoke('backfill', {});
    await expect(failure).rejects.toThrow(/has 2 faults:[^]*host bits set[^]*read "peering"/);
    expect(aws.calls).toEqual([]);
  });

  test('stops with what is wrong in its environment', async () => {
    deploy({ env: { PEERMASQ_LAUNCH_GATE: 'maybe', PEERMASQ_OBJECTIVE_MINUTES: 'soon' } });
    const failure = stack.invoke('backfill', {});
    await expect(failure).rejects.toThrow(/PEERMASQ_OBJECTIVE_MINUTES[^]*PEERMASQ_LAUNCH_GATE/);
  });

  // In a process of its own: in jest's sandbox the SDK does not know the errors of Node.js as errors.
  test('because nobody answers for an API leaves its messages in the queue', async () => {
    deploy({ env: { AWS_ENDPOINT_URL_EC2: 'http://127.0.0.1:1' } });
    stack.put(aws.stateChangeEvent(addNode()));
    await until(() => logged('ReconcileFailed').length > 0);
    expect(stack.queue('nodes').size).toBe(1);
    expect(logged('ReconcileFailed')[0]).toMatchObject({
      code: 'unavailable',
      reason: expect.stringContaining('ECONNREFUSED'),
    });
  });
});

function fail(): never {
  throw new Error('There is no route table');
}

/** Waits for what the functions do; nothing tells when they have. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
}
