import { describe, expect, test } from '@jest/globals';
import { detailOf, fixture, node, parse, withDetail } from './fixtures';

describe('an Auto Scaling launch', () => {
  test('announces a node when it is done', () => {
    expect(parse(fixture('auto-scaling-launch-successful'))).toEqual({
      kind: 'nodes-joined',
      trigger: 'auto-scaling-launch',
      nodes: [node('i-1234567890abcdef0')],
      at: new Date('2023-07-19T21:17:28Z'),
    });
  });

  test("held by peermasq's hook carries what completes the hook", () => {
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

  test('that a hook of another tool holds only announces a node', () => {
    const event = fixture('auto-scaling-launch-lifecycle-action');
    const parsed = parse(withDetail(event, { LifecycleHookName: 'warm-up' }));
    expect(parsed).toMatchObject({ kind: 'nodes-joined', trigger: 'auto-scaling-launch' });
    expect(parsed).not.toHaveProperty('launch');
  });
});
