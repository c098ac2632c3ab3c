import * as z from 'zod';
import { groupBy } from '../../../shared/core/util/collections';
import { filters, list, listPage, page, strings, type Action, type Filterable } from './ec2-listing';
import type { Fields } from './query-protocol';
import { AwsApiError } from './api-error';
import { primaryInterfaceId, type AwsState, type LabInstance, type LabInterface } from './state';

const instanceFilters: Filterable<LabInstance> = {
  'tag-key': ({ tags }) => [...tags.keys()],
  'instance-state-name': ({ state }) => [state],
  'instance-id': ({ instanceId }) => [instanceId],
};

function findInstances(state: AwsState, ids: readonly string[]): LabInstance[] {
  for (const id of ids) {
    if (!/^i-([0-9a-f]{8}|[0-9a-f]{17})$/.test(id)) {
      throw new AwsApiError('InvalidInstanceID.Malformed', `Invalid id: "${id}"`);
    }
  }
  const missing = ids.filter((id) => !state.instances.has(id));
  if (missing.length > 0) {
    const logLines = missing.length === 1 ? `ID '${missing[0]}' does` : `IDs '${missing.join(', ')}' do`;
    throw new AwsApiError('InvalidInstanceID.NotFound', `The instance ${logLines} not exist`);
  }
  return ids.flatMap((id) => state.instances.get(id) ?? []);
}

/** https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceState.html */
const stateCodes: Readonly<Record<LabInstance['state'], number>> = {
  pending: 0,
  running: 16,
  'shutting-down': 32,
  terminated: 48,
  stopping: 64,
  stopped: 80,
};

type Interfaces = ReadonlyMap<string, readonly LabInterface[]>;

function interfacesByInstance({ interfaces }: AwsState): Interfaces {
  const attached = [...interfaces.values()].filter(({ attachment }) => attachment !== undefined);
  return groupBy(attached, ({ attachment }) => attachment?.instanceId ?? '');
}

function instanceXml(state: AwsState, instance: LabInstance, interfaces: Interfaces) {
  const { instanceId, imageId, platformDetails, launchTime, tags, privateDnsName } = instance;
  const isGone = instance.state === 'terminated';
  return {
    instanceId,
    imageId,
    instanceState: { code: stateCodes[instance.state], name: instance.state },
    privateDnsName,
    launchTime: launchTime.toISOString(),
    ...(platformDetails.startsWith('Windows') && { platform: 'windows' }),
    platformDetails,
    ...(!isGone && networkXml(state, instance, interfaces.get(instanceId) ?? [])),
    tagSet: list([...tags].map(([key, value]) => ({ key, value }))),
  };
}

/** Returns the network fields of an instance. EC2 removes them when the instance is terminated. */
function networkXml(
  state: AwsState,
  { instanceId, subnetId }: LabInstance,
  interfaces: readonly LabInterface[],
) {
  const primary = state.interfaces.get(primaryInterfaceId(instanceId));
  const groups = primary?.groupIds.map((groupId) => ({ groupId })) ?? [];
  return {
    subnetId,
    vpcId: state.subnets.get(subnetId)?.vpcId,
    privateIpAddress: primary?.addresses[0],
    groupSet: list(groups),
    networkInterfaceSet: list(interfaces.map((one) => instanceInterfaceXml(state, one))),
  };
}

/**
 * Returns an instance's network interface. Like EC2, omits branch interfaces, because they are not attached to the
 * instance.
 */
const instanceInterfaceXml = (state: AwsState, one: LabInterface) => ({
  networkInterfaceId: one.networkInterfaceId,
  subnetId: one.subnetId,
  vpcId: state.subnets.get(one.subnetId)?.vpcId,
  ownerId: state.account,
  status: 'in-use',
  privateIpAddress: one.addresses[0],
  attachment: { deviceIndex: one.attachment?.deviceIndex, status: 'attached' },
});

/** The maximum number of IDs in one Describe or CreateTags call. */
const idsLimit = 1_000;

function describeInstances(state: AwsState, fields: Fields) {
  const request = z.strictObject({ InstanceId: strings.optional(), Filter: filters, ...page }).parse(fields);
  const ids = request.InstanceId;
  if (ids && request.MaxResults !== undefined) {
    throw new AwsApiError(
      'InvalidParameterCombination',
      'The parameter instancesSet cannot be used with the parameter maxResults',
    );
  }
  if (ids && ids.length > idsLimit) {
    throw new AwsApiError('InvalidParameterValue', `The maximum number of instance ids is ${idsLimit}`);
  }
  const from = ids ? findInstances(state, ids) : state.instances.values();
  const { items, nextToken } = listPage(state, from, request, instanceFilters, 1_000);
  const interfaces = interfacesByInstance(state);
  const reservation = (instance: LabInstance) => ({
    reservationId: instance.instanceId.replace('i-', 'r-'),
    ownerId: state.account,
    instancesSet: list([instanceXml(state, instance, interfaces)]),
  });
  return { reservationSet: list(items.map(reservation)), nextToken };
}

function describeImages(state: AwsState, fields: Fields) {
  const request = z
    .strictObject({ Filter: filters, IncludeDeprecated: z.stringbool().default(false), ...page })
    .parse(fields);
  const shown = [...state.images].filter(
    ([, { isDeprecated }]) => request.IncludeDeprecated || !isDeprecated,
  );
  const known: Filterable<(typeof shown)[number]> = {
    'image-id': ([id]) => [id],
    name: ([, { name }]) => [name],
  };
  const { items, nextToken } = listPage(state, shown, request, known, 1_000);
  return { imagesSet: list(items.map(([imageId, { name }]) => ({ imageId, name }))), nextToken };
}

function createTags(state: AwsState, fields: Fields) {
  const { ResourceId, Tag } = z
    .strictObject({
      ResourceId: strings.min(1),
      Tag: z.array(z.strictObject({ Key: z.string(), Value: z.string().default('') })).min(1),
    })
    .parse(fields);
  const invalidParameter = (message: string) => new AwsApiError('InvalidParameterValue', message);
  if (ResourceId.length > idsLimit) throw invalidParameter(`The maximum number of resources is ${idsLimit}`);
  for (const { Key, Value } of Tag) {
    if (Key.startsWith('aws:'))
      throw invalidParameter("Tag keys starting with 'aws:' are reserved for internal use");
    if (Key.length > 128) throw invalidParameter('Tag key exceeds the maximum length of 128 characters');
    if (Value.length > 256) throw invalidParameter('Tag value exceeds the maximum length of 256 characters');
  }
  const instances = findInstances(state, ResourceId);
  for (const { tags } of instances) {
    const own = new Set([...tags.keys(), ...Tag.map(({ Key }) => Key)]);
    if ([...own].filter((key) => !key.startsWith('aws:')).length > 50) {
      throw new AwsApiError(
        'TagLimitExceeded',
        'The maximum number of Tags for a resource has been reached.',
      );
    }
  }
  for (const { tags } of instances) for (const { Key, Value } of Tag) tags.set(Key, Value);
  return { return: true };
}

export const instanceActions: Readonly<Record<string, Action>> = {
  DescribeInstances: describeInstances,
  DescribeImages: describeImages,
  CreateTags: createTags,
};
