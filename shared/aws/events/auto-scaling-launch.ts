import { CompleteLifecycleActionCommand } from '@aws-sdk/client-auto-scaling';
import * as z from 'zod';
import { PermanentError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { call } from '../client/call';
import type { Clients } from '../client/clients';
import { launchHookPrefix } from '../names';
import { instanceIdSchema, nodesJoined, type EventParser, type Launch, type NodesJoined } from './event';

const launchedSchema = z.object({ EC2InstanceId: instanceIdSchema });

export const launchSuccessful: EventParser<NodesJoined> = {
  source: 'aws.autoscaling',
  detailType: 'EC2 Instance Launch Successful',
  parse(event) {
    const { EC2InstanceId: id } = launchedSchema.parse(event.detail);
    return nodesJoined(event, 'auto-scaling-launch', [id]);
  },
};

const lifecycleActionSchema = launchedSchema.extend({
  LifecycleActionToken: z.string(),
  AutoScalingGroupName: z.string(),
  LifecycleHookName: z.string(),
});

/** Parses launches that wait for a lifecycle hook. Hooks of other tools are ignored. */
export const launchLifecycleAction: EventParser<NodesJoined> = {
  source: 'aws.autoscaling',
  detailType: 'EC2 Instance-launch Lifecycle Action',
  parse(event) {
    const action = lifecycleActionSchema.parse(event.detail);
    const { EC2InstanceId: instanceId, LifecycleHookName: hook } = action;
    if (!hook.startsWith(launchHookPrefix)) return nodesJoined(event, 'auto-scaling-launch', [instanceId]);
    const { AutoScalingGroupName: group, LifecycleActionToken: token } = action;
    const launch = { instanceId, group, hook, token };
    return { ...nodesJoined(event, 'launch-hook', [instanceId]), launch };
  },
};

export type LifecycleResult = 'CONTINUE' | 'ABANDON';

/**
 * Completes the lifecycle hook of a launch.
 * @returns false if the group is no longer waiting, because the heartbeat has timed out or the instance is gone
 */
export async function completeLaunch(
  { autoScaling }: Clients,
  { instanceId, group, hook, token }: Launch,
  options: { readonly result: LifecycleResult; readonly deadline: Deadline },
): Promise<boolean> {
  const command = new CompleteLifecycleActionCommand({
    InstanceId: instanceId,
    AutoScalingGroupName: group,
    LifecycleHookName: hook,
    LifecycleActionToken: token,
    LifecycleActionResult: options.result,
  });
  try {
    await call('autoscaling:CompleteLifecycleAction', options.deadline, (callOptions) =>
      autoScaling.send(command, callOptions),
    );
    return true;
  } catch (error) {
    if (error instanceof PermanentError && /No active Lifecycle Action/i.test(error.message)) return false;
    throw error;
  }
}
