import { describe, expect, test } from '@jest/globals';
import {
  addNode,
  aws,
  deadLetterReasons,
  deploy,
  logged,
  nodesLogged,
  objective,
  drained,
  stack,
  statusOf,
  until,
} from '../deployed';

describe('the launch of a held instance', () => {
  const launches = () =>
    aws.calls
      .filter(({ action }) => action === 'CompleteLifecycleAction')
      .map(({ input }) => (input as { LifecycleActionResult: string }).LifecycleActionResult);
  const gate = (choice: string, ms = 600_000) => ({ params: { launchGate: choice }, env: objective(ms) });

  test('continues only after the node is proven', async () => {
    deploy(gate('abandon'));
    const id = addNode({ isReady: false });
    stack.put(aws.startLifecycleAction(id, 'workers', 'peermasq'));
    await until(() => nodesLogged('NodePending').includes(id));
    expect(launches()).toEqual([]);
    aws.setReady(id, true);
    await drained();
    expect(launches()).toEqual(['CONTINUE']);
    const order = aws.calls.map(({ action }) => action);
    expect(order.indexOf('CreateTags')).toBeLessThan(order.indexOf('CompleteLifecycleAction'));
    expect(statusOf(id)).toMatch(/^proven/);
  });

  test.each([
    ['abandon', 'ABANDON'],
    ['continue', 'CONTINUE'],
  ])('ends with the configured result (%s) if its node is not proven in time', async (choice, result) => {
    deploy(gate(choice, 500));
    const id = addNode({ isReady: false });
    stack.put(aws.startLifecycleAction(id, 'workers', 'peermasq'));
    await drained();
    expect(launches()).toEqual([result]);
    expect(nodesLogged('NodeTimedOut')).toEqual([id]);
  });

  test('is completed by the next reconcile run if its event becomes due during another run', async () => {
    deploy(gate('abandon'));
    const slow = addNode({ commandDelayMs: 3_000 });
    const id = addNode({ isReady: false });
    const time = new Date(Date.now() - 13_000).toISOString();
    stack.put({ ...aws.startLifecycleAction(id, 'workers', 'peermasq'), time });
    stack.put(aws.stateChangeEvent(slow));
    await until(() => nodesLogged('NodePending').includes(id));
    expect(launches()).toEqual([]);
    aws.setReady(id, true);
    await drained();
    expect(launches()).toEqual(['CONTINUE']);
  });

  test('ends with the configured result for an ineligible node, and continues for a node that needs no rules', async () => {
    deploy(gate('abandon'));
    stack.put(
      aws.startLifecycleAction(addNode({ tags: { 'eks:cluster-name': 'other' } }), 'workers', 'peermasq'),
    );
    await drained();
    expect(launches()).toEqual(['ABANDON']);
    stack.put(aws.startLifecycleAction(addNode({ platformDetails: 'Windows' }), 'workers', 'peermasq'));
    await drained();
    expect(launches()).toEqual(['ABANDON', 'CONTINUE']);
  });

  test('is not completed if the group lacks the tags of a configured cluster, and the event is dead-lettered', async () => {
    deploy(gate('abandon', 500));
    const id = addNode({ cluster: 'other' });
    stack.put(aws.startLifecycleAction(id, 'workers', 'peermasq'));
    await drained();
    expect(nodesLogged('NodeSkipped')).toContain(id);
    expect(aws.state.lifecycleActions.map(({ result }) => result)).toEqual([undefined]);
    expect(deadLetterReasons()).toEqual([
      expect.stringMatching(/autoscaling:Complete.*the statement CompleteLaunches/),
    ]);
  });

  test.each([
    ['its hook belongs to another tool', 'abandon', 'warm-up'],
    ['the launch gate is off', 'off', 'peermasq'],
  ])('is not completed when %s', async (_, choice, hook) => {
    deploy(gate(choice));
    const id = addNode();
    stack.put(aws.startLifecycleAction(id, 'workers', hook));
    await drained();
    expect(launches()).toEqual([]);
    expect(nodesLogged('NodeProven')).toEqual([id]);
  });

  test('is completed by a retry if Auto Scaling fails at first', async () => {
    deploy(gate('abandon'));
    aws.fail('CompleteLifecycleAction', 'ServiceUnavailable', 'try again', 4, 503);
    stack.put(aws.startLifecycleAction(addNode(), 'workers', 'peermasq'));
    await drained();
    expect(launches().at(-1)).toBe('CONTINUE');
    expect(logged('LaunchCompleted')).toMatchObject([{ isAccepted: true, result: 'CONTINUE' }]);
  });
});
