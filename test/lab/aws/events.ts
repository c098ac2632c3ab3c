import { randomUUID } from 'node:crypto';
import type { AwsState, LabInvocation } from './state';

type AccountRegion = Pick<AwsState, 'account' | 'region'>;

/** Returns the envelope of an EventBridge event. */
function envelope(
  { account, region }: AccountRegion,
  source: string,
  detailType: string,
  resources: string[] = [],
) {
  return {
    version: '0',
    id: randomUUID(),
    'detail-type': detailType,
    source,
    account,
    time: new Date().toISOString(),
    region,
    resources,
  };
}

/** Returns the CloudTrail event for a RunInstances call. */
export function runInstancesEvent(accountRegion: AccountRegion, ids: readonly string[]) {
  return {
    ...envelope(accountRegion, 'aws.ec2', 'AWS API Call via CloudTrail'),
    detail: {
      eventSource: 'ec2.amazonaws.com',
      eventName: 'RunInstances',
      awsRegion: accountRegion.region,
      responseElements: { instancesSet: { items: ids.map((instanceId) => ({ instanceId })) } },
    },
  };
}

export function stateChangeEvent(state: AwsState, id: string) {
  return {
    ...envelope(state, 'aws.ec2', 'EC2 Instance State-change Notification'),
    detail: { 'instance-id': id, state: state.instances.get(id)?.state },
  };
}

export interface LaunchHook {
  readonly instanceId: string;
  readonly groupName: string;
  readonly hookName: string;
  readonly token: string;
}

/** https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-event-reference.html */
export function launchLifecycleEvent(
  accountRegion: AccountRegion,
  { instanceId, groupName, hookName, token }: LaunchHook,
) {
  return {
    ...envelope(accountRegion, 'aws.autoscaling', 'EC2 Instance-launch Lifecycle Action'),
    detail: {
      LifecycleActionToken: token,
      AutoScalingGroupName: groupName,
      LifecycleHookName: hookName,
      EC2InstanceId: instanceId,
      LifecycleTransition: 'autoscaling:EC2_INSTANCE_LAUNCHING',
      Origin: 'EC2',
      Destination: 'AutoScalingGroup',
    },
  };
}

export function commandInvocationEvent(state: AwsState, invocation: LabInvocation) {
  const { commandId, documentName, instanceId, requestedAt, status } = invocation;
  const arn = `arn:aws:ec2:${state.region}:${state.account}:instance/${instanceId}`;
  return {
    ...envelope(state, 'aws.ssm', 'EC2 Command Invocation Status-change Notification', [arn]),
    detail: {
      'command-id': commandId,
      'document-name': documentName,
      'instance-id': instanceId,
      'requested-date-time': new Date(requestedAt).toISOString(),
      status,
    },
  };
}
