import type { IamRequest } from './iam-policies';
import type { Fields } from './query-protocol';
import type { ServiceName } from './errors';
import type { AwsState } from './state';

interface ServiceRequest {
  readonly action: string;
  readonly fields: Fields;
}

/** Returns the IAM requests for an API call. The call is allowed only if all these requests are allowed. */
export function iamRequestsOf(
  service: ServiceName,
  { action, fields }: ServiceRequest,
  state: AwsState,
): IamRequest[] {
  const { account, region } = state;
  const name = `${service}:${action.replace(/Batch$/, '')}`;
  const iamRequest = (resource = '*', context: IamRequest['context'] = {}): IamRequest => ({
    action: name,
    resource,
    context: { 'aws:RequestedRegion': region, ...context },
  });
  const all = (field: string): unknown[] => [fields[field] ?? []].flat();
  const texts = (field: string) => all(field).filter((one) => typeof one === 'string');
  const text = (field: string) => texts(field).join();
  const instance = (id: string) => `arn:aws:ec2:${region}:${account}:instance/${id}`;
  const tagsOf = (id: string, key: string): IamRequest['context'] =>
    Object.fromEntries(
      [...(state.instances.get(id)?.tags ?? [])].map(([tag, value]) => [`${key}/${tag}`, value]),
    );

  switch (action) {
    case 'SendCommand':
      return [
        iamRequest(`arn:aws:ssm:${region}:${account}:document/${text('DocumentName')}`),
        ...texts('InstanceIds').map((id) => iamRequest(instance(id), tagsOf(id, 'ssm:resourceTag'))),
      ];
    case 'CreateTags': {
      const keys = all('Tag').map((tag) => (tag as { Key: string }).Key);
      return texts('ResourceId').map((id) => iamRequest(instance(id), { 'aws:TagKeys': keys }));
    }
    case 'GetManagedPrefixListEntries':
      return [iamRequest(`arn:aws:ec2:${region}:${account}:prefix-list/${text('PrefixListId')}`)];
    case 'SendMessage':
    case 'ChangeMessageVisibilityBatch':
      return [
        iamRequest(`arn:aws:sqs:${region}:${new URL(text('QueueUrl')).pathname.slice(1).replace('/', ':')}`),
      ];
    case 'AssumeRole':
      return [iamRequest(text('RoleArn'))];
    case 'CompleteLifecycleAction':
      return [
        iamRequest(
          `arn:aws:autoscaling:${region}:${account}:autoScalingGroup:uuid:autoScalingGroupName/${text('AutoScalingGroupName')}`,
          // The lab has no Auto Scaling groups. It reads a group's tags from an instance, because groups propagate tags
          // to instances.
          tagsOf(text('InstanceId'), 'autoscaling:ResourceTag'),
        ),
      ];
    default:
      return [iamRequest()];
  }
}
