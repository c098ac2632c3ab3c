import * as z from 'zod';
import { answerQuery, type Fields } from './query';
import { AwsRefusal, type AwsState } from './state';

/** https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CompleteLifecycleAction.html */
const completeInput = z.strictObject({
  AutoScalingGroupName: z.string().min(1).max(1_600),
  LifecycleHookName: z.string().regex(/^[A-Za-z0-9\-_/]{1,255}$/),
  LifecycleActionResult: z.enum(['CONTINUE', 'ABANDON']),
  InstanceId: z.string().min(1).max(19).optional(),
  LifecycleActionToken: z.uuid().optional(),
});

function completeLifecycleAction(state: AwsState, fields: Fields) {
  const asked = completeInput.parse(fields);
  const { InstanceId, LifecycleActionToken: token, LifecycleActionResult } = asked;
  if (InstanceId === undefined && token === undefined) {
    throw new AwsRefusal('ValidationError', 'An instance ID or a lifecycle action token is required.');
  }
  const found = state.lifecycleActions.find(
    (one) =>
      one.result === undefined &&
      one.groupName === asked.AutoScalingGroupName &&
      one.hookName === asked.LifecycleHookName &&
      one.instanceId === (InstanceId ?? one.instanceId) &&
      one.token === (token ?? one.token),
  );
  if (!found) {
    const what = token === undefined ? `instance ID ${InstanceId ?? ''}` : `token ${token}`;
    throw new AwsRefusal('ValidationError', `No active Lifecycle Action found with ${what}`);
  }
  found.result = LifecycleActionResult;
  const instance = state.instances.get(found.instanceId);
  // The group ends an instance whose launch was abandoned.
  if (instance && LifecycleActionResult === 'ABANDON') instance.state = 'shutting-down';
  return {};
}

/** The XML of the answer. @throws AwsRefusal */
export function answerAutoScaling(
  state: AwsState,
  action: string,
  fields: Fields,
  requestId: string,
): string {
  const actions = { CompleteLifecycleAction: (given: Fields) => completeLifecycleAction(state, given) };
  return answerQuery(actions, action, fields, requestId);
}
