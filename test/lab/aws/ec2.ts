import { z } from 'zod';
import { xml, type Fields } from './query';
import {
  AwsRefusal,
  paginate,
  type AwsState,
  type LabInstance,
  type LabRouteTable,
  type LabVpc,
} from './state';

/** EC2's query protocol. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/ */

const strings = z.array(z.string());
const filters = z.array(z.strictObject({ Name: z.string(), Value: strings })).default([]);
const page = { MaxResults: z.coerce.number().int().optional(), NextToken: z.string().optional() };
type Filter = z.infer<typeof filters>[number];
type Page = { readonly MaxResults?: number | undefined; readonly NextToken?: string | undefined };

/** What a resource has for each filter that may be asked for. */
type Filterable<T> = Readonly<Record<string, (one: T, state: AwsState) => readonly string[]>>;

/** `*` and `?` are wildcards in the values of a filter. */
function asPattern(value: string): RegExp {
  const escaped = value.replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`);
  return new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`, 's');
}

function select<T>(all: Iterable<T>, asked: readonly Filter[], known: Filterable<T>, state: AwsState): T[] {
  if (asked.reduce((sum, { Value }) => sum + Value.length, 0) > 200) {
    throw new AwsRefusal(
      'FilterLimitExceeded',
      'The maximum number of filter values specified on a single call is 200',
    );
  }
  return asked.reduce<T[]>(
    (left, { Name, Value }) => {
      const valuesOf = known[Name];
      if (!valuesOf) throw new AwsRefusal('InvalidParameterValue', `The filter '${Name}' is invalid`);
      const patterns = Value.map(asPattern);
      return left.filter((one) =>
        valuesOf(one, state).some((has) => patterns.some((wanted) => wanted.test(has))),
      );
    },
    [...all],
  );
}

/** A listing: filtered, then cut into pages. */
function listing<T>(
  state: AwsState,
  all: Iterable<T>,
  asked: Page & { readonly Filter: readonly Filter[] },
  known: Filterable<T>,
  maxResults: number,
): { items: T[]; nextToken?: string } {
  const { MaxResults = maxResults } = asked;
  if (MaxResults < 5 || MaxResults > maxResults) {
    throw new AwsRefusal(
      'InvalidParameterValue',
      `Value ( ${MaxResults} ) for parameter maxResults is invalid. Expecting a value between 5 and ${maxResults}.`,
    );
  }
  const size = Math.min(MaxResults, state.pageSize);
  const [items, nextToken] = paginate(select(all, asked.Filter, known, state), asked.NextToken, size);
  return { items, ...(nextToken !== undefined && { nextToken }) };
}

const list = (item: unknown[]) => (item.length === 0 ? '' : { item });

const instanceFilters: Filterable<LabInstance> = {
  'tag-key': ({ tags }) => [...tags.keys()],
  'instance-state-name': ({ state }) => [state],
  'instance-id': ({ instanceId }) => [instanceId],
};

function findInstances(state: AwsState, ids: readonly string[]): LabInstance[] {
  for (const id of ids) {
    if (!/^i-([0-9a-f]{8}|[0-9a-f]{17})$/.test(id)) {
      throw new AwsRefusal('InvalidInstanceID.Malformed', `Invalid id: "${id}"`);
    }
  }
  const missing = ids.filter((id) => !state.instances.has(id));
  if (missing.length > 0) {
    const said = missing.length === 1 ? `ID '${missing[0]}' does` : `IDs '${missing.join(', ')}' do`;
    throw new AwsRefusal('InvalidInstanceID.NotFound', `The instance ${said} not exist`);
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

function instanceXml(state: AwsState, instance: LabInstance) {
  const { instanceId, imageId, platformDetails, launchTime, subnetId, tags, privateDnsName } = instance;
  const isGone = instance.state === 'terminated';
  return {
    instanceId,
    imageId,
    instanceState: { code: stateCodes[instance.state], name: instance.state },
    privateDnsName,
    launchTime: launchTime.toISOString(),
    ...(platformDetails.startsWith('Windows') && { platform: 'windows' }),
    platformDetails,
    ...(!isGone && { subnetId, vpcId: state.subnets.get(subnetId) }),
    tagSet: list([...tags].map(([key, value]) => ({ key, value }))),
  };
}

/** At most this many ids in one describe or one CreateTags. */
const idsLimit = 1_000;

function describeInstances(state: AwsState, fields: Fields) {
  const asked = z.strictObject({ InstanceId: strings.optional(), Filter: filters, ...page }).parse(fields);
  const ids = asked.InstanceId;
  if (ids && asked.MaxResults !== undefined) {
    throw new AwsRefusal(
      'InvalidParameterCombination',
      'The parameter instancesSet cannot be used with the parameter maxResults',
    );
  }
  if (ids && ids.length > idsLimit) {
    throw new AwsRefusal('InvalidParameterValue', `The maximum number of instance ids is ${idsLimit}`);
  }
  const from = ids ? findInstances(state, ids) : state.instances.values();
  const { items, nextToken } = listing(state, from, asked, instanceFilters, 1_000);
  const reservation = (instance: LabInstance) => ({
    reservationId: instance.instanceId.replace('i-', 'r-'),
    ownerId: state.account,
    instancesSet: list([instanceXml(state, instance)]),
  });
  return { reservationSet: list(items.map(reservation)), nextToken };
}

function describeImages(state: AwsState, fields: Fields) {
  const asked = z
    .strictObject({ Filter: filters, IncludeDeprecated: z.stringbool().default(false), ...page })
    .parse(fields);
  const shown = [...state.images].filter(([, { isDeprecated }]) => asked.IncludeDeprecated || !isDeprecated);
  const known: Filterable<(typeof shown)[number]> = {
    'image-id': ([id]) => [id],
    name: ([, { name }]) => [name],
  };
  const { items, nextToken } = listing(state, shown, asked, known, 1_000);
  return { imagesSet: list(items.map(([imageId, { name }]) => ({ imageId, name }))), nextToken };
}

function vpcXml({ vpcId, cidrs, ipv6Cidrs, formerCidrs }: LabVpc) {
  const association = (cidrBlock: string, state: string) => ({ cidrBlock, cidrBlockState: { state } });
  return {
    vpcId,
    cidrBlock: cidrs[0],
    state: 'available',
    cidrBlockAssociationSet: list([
      ...cidrs.map((cidr) => association(cidr, 'associated')),
      ...formerCidrs.map((cidr) => association(cidr, 'disassociated')),
    ]),
    ipv6CidrBlockAssociationSet: list(
      ipv6Cidrs.map((ipv6CidrBlock) => ({ ipv6CidrBlock, ipv6CidrBlockState: { state: 'associated' } })),
    ),
  };
}

function describeVpcs(state: AwsState, fields: Fields) {
  const asked = z.strictObject({ Filter: filters, ...page }).parse(fields);
  const known: Filterable<LabVpc> = { 'vpc-id': ({ vpcId }) => [vpcId] };
  const { items, nextToken } = listing(state, state.vpcs.values(), asked, known, 1_000);
  return { vpcSet: list(items.map(vpcXml)), nextToken };
}

function routeTableXml({ routeTableId, vpcId, isMain, subnetIds, routes }: LabRouteTable) {
  const association = { routeTableId, associationState: { state: 'associated' } };
  const local = { gatewayId: 'local', state: 'active', origin: 'CreateRouteTable' };
  return {
    routeTableId,
    vpcId,
    routeSet: list([local, ...routes.map((route) => ({ state: 'active', origin: 'CreateRoute', ...route }))]),
    associationSet: list([
      ...(isMain ? [{ ...association, main: true }] : []),
      ...subnetIds.map((subnetId) => ({ ...association, subnetId, main: false })),
    ]),
  };
}

function describeRouteTables(state: AwsState, fields: Fields) {
  const asked = z.strictObject({ Filter: filters, ...page }).parse(fields);
  const known: Filterable<LabRouteTable> = {
    'vpc-id': ({ vpcId }) => [vpcId],
    'association.subnet-id': ({ subnetIds }) => subnetIds,
  };
  const { items, nextToken } = listing(state, state.routeTables, asked, known, 100);
  return { routeTableSet: list(items.map(routeTableXml)), nextToken };
}

function describeVpcPeeringConnections(state: AwsState, fields: Fields) {
  const asked = z.strictObject({ Filter: filters, ...page }).parse(fields);
  const known: Filterable<(typeof state.peerings)[number]> = {
    'vpc-peering-connection-id': ({ vpcPeeringConnectionId }) => [vpcPeeringConnectionId],
    'status-code': ({ status }) => [status],
  };
  const { items, nextToken } = listing(state, state.peerings, asked, known, 1_000);
  const xml = items.map(({ status, ...peering }) => ({ ...peering, status: { code: status } }));
  return { vpcPeeringConnectionSet: list(xml), nextToken };
}

function getManagedPrefixListEntries(state: AwsState, fields: Fields) {
  const asked = z.strictObject({ PrefixListId: z.string(), ...page }).parse(fields);
  const cidrs = state.prefixLists.get(asked.PrefixListId);
  if (!cidrs) {
    const message = `The prefix list ID '${asked.PrefixListId}' does not exist.`;
    throw new AwsRefusal('InvalidPrefixListID.NotFound', message);
  }
  const { items, nextToken } = listing(state, cidrs, { ...asked, Filter: [] }, {}, 100);
  return { entrySet: list(items.map((cidr) => ({ cidr }))), nextToken };
}

function createTags(state: AwsState, fields: Fields) {
  const { ResourceId, Tag } = z
    .strictObject({
      ResourceId: strings.min(1),
      Tag: z.array(z.strictObject({ Key: z.string(), Value: z.string().default('') })).min(1),
    })
    .parse(fields);
  const refuse = (message: string) => new AwsRefusal('InvalidParameterValue', message);
  if (ResourceId.length > idsLimit) throw refuse(`The maximum number of resources is ${idsLimit}`);
  for (const { Key, Value } of Tag) {
    if (Key.startsWith('aws:')) throw refuse("Tag keys starting with 'aws:' are reserved for internal use");
    if (Key.length > 128) throw refuse('Tag key exceeds the maximum length of 128 characters');
    if (Value.length > 256) throw refuse('Tag value exceeds the maximum length of 256 characters');
  }
  const instances = findInstances(state, ResourceId);
  for (const { tags } of instances) {
    const own = new Set([...tags.keys(), ...Tag.map(({ Key }) => Key)]);
    if ([...own].filter((key) => !key.startsWith('aws:')).length > 50) {
      throw new AwsRefusal('TagLimitExceeded', 'The maximum number of Tags for a resource has been reached.');
    }
  }
  for (const { tags } of instances) for (const { Key, Value } of Tag) tags.set(Key, Value);
  return { return: true };
}

const actions: Readonly<Record<string, (state: AwsState, fields: Fields) => object>> = {
  DescribeInstances: describeInstances,
  DescribeImages: describeImages,
  DescribeVpcs: describeVpcs,
  DescribeRouteTables: describeRouteTables,
  DescribeVpcPeeringConnections: describeVpcPeeringConnections,
  GetManagedPrefixListEntries: getManagedPrefixListEntries,
  CreateTags: createTags,
};

/** The XML of the answer. @throws AwsRefusal */
export function answerEc2(state: AwsState, action: string, fields: Fields, requestId: string): string {
  const act = Object.hasOwn(actions, action) ? actions[action] : undefined;
  if (!act) throw new AwsRefusal('InvalidAction', `The action ${action} is not valid for this web service.`);
  try {
    return xml({ [`${action}Response`]: { requestId, ...act(state, fields) } });
  } catch (error) {
    throw error instanceof z.ZodError ? toRefusal(error) : error;
  }
}

/** As EC2 says it of a parameter that it does not know, misses, or cannot read. */
function toRefusal({ issues: [issue] }: z.ZodError): AwsRefusal {
  const path = issue?.path.join('.') ?? '';
  if (issue?.code === 'unrecognized_keys') {
    return new AwsRefusal('UnknownParameter', `The parameter ${issue.keys[0] ?? ''} is not recognized`);
  }
  if (issue?.code === 'invalid_type' && issue.input === undefined) {
    return new AwsRefusal('MissingParameter', `The request must contain the parameter ${path}`);
  }
  return new AwsRefusal(
    'InvalidParameterValue',
    `Invalid value for parameter ${path}: ${issue?.message ?? ''}`,
  );
}

export function ec2Error({ code, message }: AwsRefusal, requestId: string): string {
  const Errors = { Error: { Code: code, Message: message } };
  return `<?xml version="1.0" encoding="UTF-8"?>\n${xml({ Response: { Errors, RequestID: requestId } })}`;
}
