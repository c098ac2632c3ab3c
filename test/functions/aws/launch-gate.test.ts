import { describe, expect, test } from '@jest/globals';
import {
  addNode,
  aws,
  deploy,
  logged,
  nodesLogged,
  objective,
  served,
  stack,
  statusOf,
  until,
} from './deployed';

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
    await served();
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
    await served();
    expect(launches()).toEqual([verdict]);
    expect(nodesLogged('NodeGaveUp')).toEqual([id]);
  });

  test('go on for a node that needs no rules', async () => {
    deploy({ env: gate('abandon') });
    stack.put(aws.holdLaunch(addNode({ cluster: 'other' }), 'workers', 'peermasq'));
    await served();
    expect(launches()).toEqual(['CONTINUE']);
  });

  test.each([
    ['the hook is somebody else’s', 'abandon', 'warm-up'],
    ['the gate is not in use', 'off', 'peermasq'],
  ])('are left alone where %s', async (_, choice, hook) => {
    deploy({ env: gate(choice) });
    const id = addNode();
    stack.put(aws.holdLaunch(id, 'workers', hook));
    await served();
    expect(launches()).toEqual([]);
    expect(nodesLogged('NodeProven')).toEqual([id]);
  });

  test('are told again when Auto Scaling did not answer', async () => {
    deploy({ env: gate('abandon') });
    aws.fail('CompleteLifecycleAction', 'ServiceUnavailable', 'try again', 4, 503);
    stack.put(aws.holdLaunch(addNode(), 'workers', 'peermasq'));
    await served();
    expect(launches().at(-1)).toBe('CONTINUE');
    expect(logged('LaunchCompleted')).toMatchObject([{ isTold: true, verdict: 'CONTINUE' }]);
  });
});
