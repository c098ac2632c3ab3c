import { describe, expect, test } from '@jest/globals';
import {
  addNode,
  aws,
  deadLetterReasons,
  deploy,
  logged,
  metric,
  nodesLogged,
  objective,
  drained,
  stack,
  statusOf,
  until,
  type NodeChanges,
} from './deployed';

const skippedNodes: readonly [string, NodeChanges][] = [
  ['not-configured', { cluster: 'other' }],
  ['no-cluster', { tags: {}, cluster: undefined }],
  ['ambiguous-cluster', { tags: { 'eks:cluster-name': 'other' } }],
  ['windows', { platformDetails: 'Windows' }],
  ['bottlerocket', { imageId: 'ami-0b0771e40c4e70000' }],
  ['not-running', { state: 'terminated' }],
  ['not-running', { state: 'stopped' }],
  ['control-plane', { tags: { 'k8s.io/role/control-plane': '1' } }],
  ['nothing-to-masquerade', { subnetId: 'subnet-0aaaaaaaaaaaaaaaa' }],
];

describe('the function node-joined', () => {
  test('pushes only once to a node that appears in several events of a batch', async () => {
    deploy();
    const one = addNode();
    const other = addNode();
    for (const event of [
      aws.runInstancesEvent([one, other]),
      aws.stateChangeEvent(one),
      aws.stateChangeEvent(other),
    ])
      stack.put(event);
    await drained();
    expect(nodesLogged('NodeProven').toSorted()).toEqual(expect.arrayContaining([one, other]));
    expect(aws.count('SendCommand')).toBe(1);
    expect(statusOf(one)).toMatch(/^proven \S+ routes=1 format=2$/);
    expect(stack.deadLetters).toEqual([]);
    expect(stack.failures).toEqual([]);
  });

  test('retries a node with an offline agent at increasing intervals until the node is proven', async () => {
    deploy();
    const id = addNode({ isReady: false });
    stack.put(aws.stateChangeEvent(id));
    await until(() => aws.count('ChangeMessageVisibilityBatch') >= 3);
    aws.setReady(id, true);
    await drained();
    const waits = aws.calls
      .filter(({ action }) => action === 'ChangeMessageVisibilityBatch')
      .map(
        ({ input }) => (input as { Entries: [{ VisibilityTimeout: number }] }).Entries[0].VisibilityTimeout,
      );
    expect(waits.slice(0, 3)).toEqual([5, 10, 20]);
    expect(nodesLogged('NodeProven')).toEqual([id]);
  });

  test('sends an event to the dead-letter queue, with the reason, if its node is not proven in time', async () => {
    deploy({ env: objective(700) });
    const id = addNode({ isReady: false });
    const other = addNode();
    stack.put(aws.stateChangeEvent(id));
    stack.put(aws.stateChangeEvent(other));
    await drained();
    expect(nodesLogged('NodeProven')).toEqual([other]);
    expect(logged('NodeTimedOut')).toMatchObject([
      { node: id, cluster: 'shop', severity: 'ERROR', reason: 'its SSM agent is not online' },
    ]);
    expect(deadLetterReasons()).toEqual([`aws:${id}: its SSM agent is not online`]);
    expect(stack.deadLetters[0]?.body).toContain(id);
  });

  test('gives up on the unproven nodes of an event without affecting its proven nodes', async () => {
    deploy({ env: objective(700) });
    const id = addNode({ isReady: false });
    const other = addNode();
    stack.put(aws.runInstancesEvent([other, id]));
    await drained();
    expect(nodesLogged('NodeProven')).toContain(other);
    expect(nodesLogged('NodeTimedOut')).toEqual([id]);
    expect(deadLetterReasons()).toEqual([`aws:${id}: its SSM agent is not online`]);
  });

  test('logs a warning if an outcome cannot be recorded, and the next sweep records the outcome', async () => {
    deploy();
    const id = addNode();
    aws.fail('CreateTags', 'IncorrectState', 'not now', 2);
    stack.put(aws.stateChangeEvent(id));
    await drained();
    expect(nodesLogged('NodeProven')).toEqual([id]);
    expect(logged('RecordFailed')).toMatchObject([{ node: id, severity: 'WARNING', code: 'IncorrectState' }]);
    expect(statusOf(id)).toBeUndefined();
    await stack.invoke('sweep', {});
    expect(statusOf(id)).toMatch(/^proven \S+ routes=1 format=2$/);
    expect(stack.deadLetters).toEqual([]);
  });

  test('sends malformed messages to the dead-letter queue with the reason, and handles the rest of the batch', async () => {
    deploy();
    const id = addNode();
    stack.queue('nodes').send('not JSON at all {');
    stack.queue('nodes').send(JSON.stringify({ ...aws.stateChangeEvent(id), detail: { state: 'running' } }));
    stack.queue('nodes').send(JSON.stringify({ ...aws.stateChangeEvent(id), source: 'aws.s3' }));
    stack.queue('nodes').send(JSON.stringify({ Event: 'autoscaling:TEST_NOTIFICATION' }));
    stack.put(aws.stateChangeEvent(id));
    await drained();
    expect(nodesLogged('NodeProven')).toEqual([id]);
    expect(deadLetterReasons().toSorted()).toEqual([
      expect.stringMatching(/^malformed aws\.ec2: EC2 Instance State-change Notification: instance-id/),
      'the message body is not JSON',
    ]);
    expect(logged('EventIgnored')).toHaveLength(2);
  });

  test('retries an event if an API call is denied, then sends it to the dead-letter queue with the missing policy statement', async () => {
    deploy({ env: objective(500) });
    const id = addNode();
    aws.deny('ec2:DescribeInstances');
    stack.put(aws.stateChangeEvent(id));
    await drained();
    expect(deadLetterReasons()).toEqual([
      expect.stringMatching(/ec2:DescribeInstances.*the statement DiscoverNodes/),
    ]);
    expect(logged('ReconcileFailed')[0]).toMatchObject({ code: 'access-denied', severity: 'ERROR' });
  });

  test('loses no event when API calls are throttled or fail, and proves the node later', async () => {
    deploy();
    const id = addNode();
    aws.throttle('DescribeInstances', 3);
    aws.fail('SendCommand', 'InternalServerError', 'try again', 3, 500);
    stack.put(aws.stateChangeEvent(id));
    await drained();
    expect(nodesLogged('NodeProven')).toEqual([id]);
    expect(metric('ApiThrottles').reduce((sum, count) => sum + count, 0)).toBe(3);
  });

  test('leaves a message in the queue if it cannot be sent to the dead-letter queue', async () => {
    deploy();
    aws.deny('sqs:SendMessage');
    stack.queue('nodes').send('poison');
    await aws.waitForCommands();
    await until(() => logged('DeadLetterFailed').length > 0);
    expect(stack.queue('nodes').size).toBe(1);
    expect(logged('DeadLetterFailed')[0]).toMatchObject({
      advice: expect.stringContaining('the statement SendToDeadLetterQueue'),
    });
  });

  test('skips ineligible nodes and logs the reason for each', async () => {
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
    const reasons = new Map<string, string>();
    for (const [reason, node] of skippedNodes) reasons.set(addNode(node), reason);
    stack.put(aws.runInstancesEvent([...reasons.keys()]));
    await drained();
    expect(new Map(logged('NodeSkipped').map(({ node, reason }) => [node, reason]))).toEqual(reasons);
    expect(aws.count('SendCommand')).toBe(0);
    expect(stack.deadLetters).toEqual([]);
  });

  test('skips a node that is terminated before its agent comes online', async () => {
    deploy();
    const id = addNode({ isReady: false });
    stack.put(aws.stateChangeEvent(id));
    await until(() => nodesLogged('NodePending').includes(id));
    const instance = aws.state.instances.get(id);
    if (instance) instance.state = 'terminated';
    await drained();
    expect(logged('NodeSkipped')).toMatchObject([{ node: id, reason: 'not-running' }]);
    expect(stack.deadLetters).toEqual([]);
  });

  test('writes a metric for the time to the first proof, by stage and by cluster', async () => {
    deploy();
    stack.put({ ...aws.stateChangeEvent(addNode()), time: new Date(Date.now() - 30_000).toISOString() });
    await drained();
    const [seconds = 0] = metric('SecondsToProven', { cloud: 'aws', stage: 'dev', cluster: 'shop' });
    expect(seconds).toBeGreaterThanOrEqual(30);
    expect(seconds).toBeLessThan(60);
    expect(metric('NodesProven')).toEqual([1]);
  });

  // Runs the functions in a separate process, because the SDK does not recognise Node.js errors inside jest's sandbox.
  test('leaves messages in the queue while an API is unreachable', async () => {
    deploy({ env: { AWS_ENDPOINT_URL_EC2: 'http://127.0.0.1:1' } });
    stack.put(aws.stateChangeEvent(addNode()));
    await until(() => logged('ReconcileFailed').length > 0);
    expect(stack.queue('nodes').size).toBe(1);
    expect(logged('ReconcileFailed')[0]).toMatchObject({
      code: 'unavailable',
      reason: expect.stringContaining('ECONNREFUSED'),
    });
  });

  test('leaves messages in the queue while SQS is unreachable, and still proves nodes that are ready', async () => {
    // The SQS client uses the queue's URL in place of its configured endpoint.
    const nowhere = 'http://127.0.0.1:1/123456789012/queue';
    deploy({ env: { PEERMASQ_QUEUE: nowhere, PEERMASQ_DEAD_LETTERS: nowhere } });
    const id = addNode({ isReady: false });
    const other = addNode();
    stack.queue('nodes').send('poison');
    for (const one of [id, other]) stack.put(aws.stateChangeEvent(one));
    await until(() => stack.queue('nodes').size === 2);
    expect(nodesLogged('NodeProven')).toEqual([other]);
    expect(logged('RetryDelayFailed')).toMatchObject([{ messages: 1, code: 'unavailable' }]);
    expect(logged('DeadLetterFailed')).toMatchObject([{ code: 'unavailable' }]);
    expect(stack.failures).toEqual([]);
  });
});
