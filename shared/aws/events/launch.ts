import { CompleteLifecycleActionCommand } from '@aws-sdk/client-auto-scaling';
import { PermanentError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { call } from '../client/call';
import type { Clients } from '../client/clients';

/** A launch that an Auto Scaling group holds until somebody says whether it may go on. */
export interface Launch {
  readonly instanceId: string;
  readonly group: string;
  readonly hook: string;
  readonly token: string;
}

export type LifecycleResult = 'CONTINUE' | 'ABANDON';

/**
 * Lets a launch go on or end.
 * @returns false when nobody waits for that any more: its time ran out, or the instance is gone
 * @throws PeermasqError
 */
export async function completeLaunch(
  { autoScaling }: Clients,
  { instanceId, group, hook, token }: Launch,
  result: LifecycleResult,
  deadline: Deadline,
): Promise<boolean> {
  try {
    await call('autoscaling:CompleteLifecycleAction', deadline, (options) =>
      autoScaling.send(
        new CompleteLifecycleActionCommand({
          InstanceId: instanceId,
          AutoScalingGroupName: group,
          LifecycleHookName: hook,
          LifecycleActionToken: token,
          LifecycleActionResult: result,
        }),
        options,
      ),
    );
    return true;
  } catch (error) {
    if (error instanceof PermanentError && /No active Lifecycle Action/i.test(error.message)) return false;
    throw error;
  }
}
