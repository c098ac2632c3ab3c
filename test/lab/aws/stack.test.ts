import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { startLocalAws, type LocalAws } from './cloud';
import { readDeployment, type Deployment } from './deployment';
import { startStack, type LabStack } from './stack';

const deployment: Deployment = {
  stage: 'test',
  queues: [
    { name: 'work', visibilityTimeout: 30, delaySeconds: 0, maxReceiveCount: 3 },
    { name: 'later', visibilityTimeout: 30, delaySeconds: 60, maxReceiveCount: 3 },
  ],
  functions: [
    {
      name: 'worker',
      bundle: join(__dirname, 'stack-handler.cjs'),
      timeoutSeconds: 3,
      environment: { PEERMASQ_QUEUE: { queue: 'work' } },
    },
  ],
  sources: ['work', 'later'].map((queue) => ({
    ...{ queue, function: 'worker', batchSize: 20, windowSeconds: 10, maximumConcurrency: 1 },
  })),
  rules: ['work', 'later'].map((queue) => ({ queue, pattern: { source: [queue] } })),
};

let aws: LocalAws;
let stack: LabStack;

beforeEach(async () => {
  aws = await startLocalAws();
  stack = startStack(aws, deployment, { secondMs: 5 });
});
afterEach(async () => {
  await stack.close();
  await aws.close();
});

const put = (does: string, detail: object = {}, source = 'work') => {
  stack.put({ source, detail: { does, ...detail } });
};
const entries = (message: string) => stack.log.filter((entry) => entry['message'] === message);
const seen = () => entries('Seen').map(({ does, count }) => [does, count]);
const bodies = () => stack.deadLetters.map(({ body }) => JSON.parse(body) as unknown);

describe('a batch in the local stack', () => {
  test('contains all messages of the batch window, but no events that match no rule', async () => {
    for (let i = 0; i < 15; i += 1) put('end');
    put('end', {}, 'elsewhere');
    await stack.idle();
    expect(entries('Batch').map(({ size }) => size)).toEqual([15]);
    expect(entries('Batch')[0]?.['left']).toBeLessThanOrEqual(3_000);
    expect(stack.failures).toEqual([]);
  });

  test('is limited by the batch size', async () => {
    for (let i = 0; i < 45; i += 1) put('end');
    await stack.idle();
    expect(entries('Batch').map(({ size }) => size)).toEqual([20, 20, 5]);
  });

  test('is limited by the payload size of an invocation', async () => {
    // The visibility timeout must be longer than the invocation, even on a busy machine.
    aws.state.secondMs = 400;
    for (let i = 0; i < 8; i += 1) put('end', { ballast: 'x'.repeat(1_000_000) });
    await stack.idle();
    expect(
      entries('Batch')
        .map(({ size }) => Number(size))
        .toSorted((a, b) => a - b),
    ).toEqual([2, 6]);
  });
});

describe('a message in the local stack is redelivered', () => {
  test('without the rest of its batch, if the function reports it as failed', async () => {
    put('end');
    put('fail', { times: 1 });
    await stack.idle();
    expect(seen()).toEqual([
      ['end', 1],
      ['fail', 1],
      ['fail', 2],
    ]);
  });

  test.each([
    ['the function throws', 'throw', /thrown on purpose/, 1],
    ['its process ends', 'crash', /exited with 3/, 2],
    ['the function times out', 'hang', /timed out after 3000 ms/, 2],
  ])('with its whole batch, if %s', async (_, does, failure, processes) => {
    put('end');
    put(does, { times: 1 });
    await stack.idle();
    expect(seen()).toEqual([
      ['end', 1],
      [does, 1],
      ['end', 2],
      [does, 2],
    ]);
    expect(stack.failures).toEqual([expect.objectContaining({ message: expect.stringMatching(failure) })]);
    expect(new Set(entries('Seen').map(({ pid }) => pid)).size).toBe(processes);
  });

  test('after its visibility timeout, which the function may change', async () => {
    aws.state.secondMs = 50;
    put('grow', { times: 2 });
    await stack.idle();
    const [first = 0, second = 0, third = 0] = entries('Seen').map(({ at }) => Number(at));
    expect(second - first).toBeGreaterThanOrEqual(50);
    expect(third - second).toBeGreaterThanOrEqual(100);
    expect(third - first).toBeLessThan(30 * 50);
  });
});

test('and moves to the dead-letter queue after three receives', async () => {
  put('fail', { times: 9 });
  put('end');
  await stack.idle();
  expect(seen().filter(([does]) => does === 'fail')).toEqual([1, 2, 3].map((count) => ['fail', count]));
  expect(bodies()).toEqual([{ source: 'work', detail: { does: 'fail', times: 9 } }]);
});

test('a queue with a delay delivers messages later, and `idle` waits for delayed messages', async () => {
  const putAt = Date.now();
  put('end', {}, 'later');
  expect(stack.queue('later').receive(1)).toEqual([]);
  await stack.idle();
  expect(Number(entries('Seen')[0]?.['at']) - putAt).toBeGreaterThanOrEqual(60 * 5);
});

test('`waitUntilAtMost` waits until the queue has at most the given number of messages', async () => {
  put('hang', { times: 9 });
  put('end', {}, 'later');
  await stack.queue('later').waitUntilAtMost(0, AbortSignal.timeout(5_000));
  await stack.queue('work').waitUntilAtMost(1, AbortSignal.timeout(5_000));
  expect([stack.queue('work').size, stack.queue('later').size]).toEqual([1, 0]);
});

test("a listener is called after each invocation and gets the invocation's log", async () => {
  const invocations: unknown[] = [];
  stack.onInvoked = (name, { log }) => invocations.push([name, log.map(({ message }) => message)]);
  put('end');
  await stack.idle();
  expect(invocations).toEqual([['worker', expect.arrayContaining(['Batch', 'Seen'])]]);
});

test('a function in the local stack can be invoked directly', async () => {
  const { response } = await stack.invoke('worker', { Records: [] });
  expect(response).toEqual({ batchItemFailures: [] });
});

test('closing the stack ends all processes and all pending waits, even during an invocation', async () => {
  put('hang', { times: 9 });
  const refused = expect(stack.idle()).rejects.toThrow('The stack is closed');
  while (entries('Seen').length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  await stack.close();
  await refused;
  const pid = Number(entries('Seen')[0]?.['pid']);
  expect(() => process.kill(pid, 0)).toThrow('ESRCH');
});

test('events that the local SSM emits are sent to the stack automatically', async () => {
  aws.onEvent({ source: 'work', detail: { does: 'end' } });
  await stack.idle();
  expect(seen()).toEqual([['end', 1]]);
});

test('the stack has the resources that serverless.yml and infra/aws define', () => {
  const { queues, sources, functions, rules } = readDeployment({
    stage: 'prod',
    params: { launchGate: 'abandon' },
    delaySeconds: 1,
  });
  expect(sources.map((source) => [source.queue, source.function])).toEqual([
    ['nodes', 'node-joined'],
    ['routes', 'peering-changed'],
    ['commands', 'command-finished'],
  ]);
  expect(queues.map(({ name, delaySeconds }) => [name, delaySeconds])).toEqual(
    sources.map(({ queue }) => [queue, 1]),
  );
  expect(functions.map(({ name }) => name)).toEqual(expect.arrayContaining(['sweep', 'backfill']));
  expect(functions[0]).toMatchObject({
    bundle: 'dist/aws/node-joined.js',
    environment: {
      PEERMASQ_STAGE: 'prod',
      PEERMASQ_LAUNCH_GATE: 'abandon',
      PEERMASQ_OBJECTIVE_MINUTES: '10',
      PEERMASQ_QUEUE: { queue: 'nodes' },
      PEERMASQ_DEAD_LETTERS: { queue: 'dead-letters' },
    },
  });
  expect(new Set(rules.map(({ queue }) => queue))).toEqual(new Set(queues.map(({ name }) => name)));
});
