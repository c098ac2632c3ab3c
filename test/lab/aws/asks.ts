import type { Ask } from './policy';
import type { Fields } from './query';
import type { ServiceName } from './refusals';
import type { AwsState } from './state';

interface Request {
  readonly action: string;
  readonly fields: Fields;
}

/** What IAM is asked for a call: all of it has to be allowed. */
export function asksOf(service: ServiceName, { action, fields }: Request, state: AwsState): Ask[] {
  const { account, region } = state;
  const name = `${service}:${action.replace(/Batch$/, '')}`;
  const ask = (resource = '*', context: Ask['context'] = {}): Ask => ({
    action: name,
    resource,
    context: { 'aws:RequestedRegion': region, ...context },
  });
  const all = (field: string): unknown[] => [fields[field] ?? []].flat();
  const texts = (field: string) => all(field).filter((one) => typeof one === 'string');
  const text = (field: string) => texts(field).join();
  const instance = (id: string) => `arn:aws:ec2:${region}:${account}:instance/${id}`;
  const tagsOf = (id: string, key: string): Ask['context'] =>
    Object.fromEntries(
      [...(state.instances.get(id)?.tags ?? [])].map(([tag, value]) => [`${key}/${tag}`, value]),
    );

  switch (action) {
    case 'SendCommand':
      return [
        ask(`arn:aws:ssm:${region}:${account}:document/${text('DocumentName')}`),
        ...texts('InstanceIds').map((id) => ask(instance(id), tagsOf(id, 'ssm:resourceTag'))),
      ];
    case 'CreateTags': {
      const keys = all('Tag').map((tag) => (tag as { Key: string }).Key);
      return texts('ResourceId').map((id) => ask(instance(id), { 'aws:TagKeys': keys }));
    }
    case 'GetManagedPrefixListEntries':
      return [ask(`arn:aws:ec2:${region}:${account}:prefix-list/${text('PrefixListId')}`)];
    case 'SendMessage':
    case 'ChangeMessageVisibilityBatch':
      return [ask(`arn:aws:sqs:${region}:${new URL(text('QueueUrl')).pathname.slice(1).replace('/', ':')}`)];
    case 'AssumeRole':
      return [ask(text('RoleArn'))];
    case 'CompleteLifecycleAction':
      return [
        ask(
          `arn:aws:autoscaling:${region}:${account}:autoScalingGroup:uuid:autoScalingGroupName/${text('AutoScalingGroupName')}`,
          // The lab knows no groups: they carry the tags of their instances, as they hand them on.
          tagsOf(text('InstanceId'), 'autoscaling:ResourceTag'),
        ),
      ];
    default:
      return [ask()];
  }
}
