import { describe, expect, test } from '@jest/globals';
import { detailOf, fixture, node, parse, withDetail } from './fixtures';

describe('the event for an Auto Scaling launch', () => {
  test('announces a node when the launch is complete', () => {
    expect(parse(fixture('auto-scaling-launch-successful'))).toEqual({
      kind: 'nodes-joined',
      trigger: 'auto-scaling-launch',
      nodes: [node('i-1234567890abcdef0')],
      at: new Date('2023-07-19T21:17:28Z'),
    });
  });

  test("contains what is needed to complete the launch hook when peermasq's hook holds the launch", () => {
    const event = fixture('auto-scaling-launch-lifecycle-action');
    const detail = detailOf(event);
    expect(parse(event)).toMatchObject({
      kind: 'nodes-joined',
      trigger: 'launch-hook',
      nodes: [node(String(detail['EC2InstanceId']))],
      launch: {
        instanceId: detail['EC2InstanceId'],
        group: detail['AutoScalingGroupName'],
        hook: detail['LifecycleHookName'],
        token: detail['LifecycleActionToken'],
      },
    });
  });

  test('only announces a node when a hook of another tool holds the launch', () => {
    const event = fixture('auto-scaling-launch-lifecycle-action');
    const parsed = parse(withDetail(event, { LifecycleHookName: 'warm-up' }));
    expect(parsed).toMatchObject({ kind: 'nodes-joined', trigger: 'auto-scaling-launch' });
    expect(parsed).not.toHaveProperty('launch');
  });
});
