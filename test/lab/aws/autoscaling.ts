import * as z from 'zod';
import { handleQuery, type Fields } from './query-protocol';
import { AwsApiError } from './api-error';
import type { AwsState } from './state';

/** https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CompleteLifecycleAction.html */
const completeInput = z.strictObject({
  AutoScalingGroupName: z.string().min(1).max(1_600),
  LifecycleHookName: z.string().regex(/^[A-Za-z0-9\-_/]{1,255}$/),
  LifecycleActionResult: z.enum(['CONTINUE', 'ABANDON']),
  InstanceId: z.string().min(1).max(19).optional(),
  LifecycleActionToken: z.uuid().optional(),
});

function completeLifecycleAction(state: AwsState, fields: Fields) {
  const request = completeInput.parse(fields);
  const { InstanceId, LifecycleActionToken: token, LifecycleActionResult } = request;
  if (InstanceId === undefined && token === undefined) {
    throw new AwsApiError('ValidationError', 'An instance ID or a lifecycle action token is required.');
  }
  const found = state.lifecycleActions.find(
    (one) =>
      one.result === undefined &&
      one.groupName === request.AutoScalingGroupName &&
      one.hookName === request.LifecycleHookName &&
      one.instanceId === (InstanceId ?? one.instanceId) &&
      one.token === (token ?? one.token),
  );
  if (!found) {
    const what = token === undefined ? `instance ID ${InstanceId ?? ''}` : `token ${token}`;
    throw new AwsApiError('ValidationError', `No active Lifecycle Action found with ${what}`);
  }
  found.result = LifecycleActionResult;
  const instance = state.instances.get(found.instanceId);
  // Auto Scaling terminates an instance if its launch is abandoned.
  if (instance && LifecycleActionResult === 'ABANDON') instance.state = 'shutting-down';
  return {};
}

/**
 * Handles a call.
 * @returns the response as XML
 * @throws AwsRefusal
 */
export function handleAutoScaling(
  state: AwsState,
  action: string,
  fields: Fields,
  requestId: string,
): string {
  const actions = { CompleteLifecycleAction: (given: Fields) => completeLifecycleAction(state, given) };
  return handleQuery(actions, action, fields, requestId);
}
