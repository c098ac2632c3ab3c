import {
  DescribeImagesCommand,
  DescribeInstancesCommand,
  type DescribeInstancesCommandInput,
  type Instance,
} from '@aws-sdk/client-ec2';
import { tryParseAddress } from '../../core/model/cidr';
import type { AwsNodeRef, Node } from '../../core/model/node';
import type { Deadline, NodeInventory } from '../../core/cloud';
import { chunks, definedOnly } from '../../core/util/collections';
import type { Clients } from '../client/clients';
import { retryWithoutMissing } from '../client/errors';
import { filterValuesLimit, listAll } from '../client/pages';
import { clusterKeyPrefix, clusterValueKeys, controlPlaneTags } from '../names';
import { distinct } from './networks';
import { lastPushOf, parseStatus, recordedOf, type StatusRecord, type Tags } from './recorded-status';

/**
 * An EC2 instance. The description of an instance includes its network and tags, so route discovery and pushes need not
 * read the instance again.
 */
export interface AwsNode extends Node {
  readonly ref: AwsNodeRef;
  readonly status: StatusRecord | undefined;
  /** Undefined for a terminated instance. */
  readonly network: NodeNetwork | undefined;
}

export interface NodeNetwork {
  readonly vpcId: string;
  /** The subnet of the primary network interface. */
  readonly subnetId: string;
  /**
   * The subnets of the node's secondary interfaces in the VPC. The VPC CNI attaches secondary interfaces for pods when
   * the first pods start, so a new node does not have any yet.
   */
  readonly otherSubnetIds: readonly string[];
}

interface DescribedInstance {
  readonly account: string;
  readonly instance: Instance;
}

export function makeNodes(clients: Clients): NodeInventory<AwsNode> {
  const findBottlerocketImages = makeBottlerocketFinder(clients);

  const toNodes = async (described: readonly DescribedInstance[], deadline: Deadline): Promise<AwsNode[]> => {
    // If an instance has a record, the node program has already run on it, so it does not run Bottlerocket.
    const unknown = described.filter(({ instance }) => !recordedOf(tagsOf(instance), instance.LaunchTime));
    const imageIds = unknown.flatMap(({ instance: { ImageId } }) => ImageId ?? []);
    const bottlerocketImages = await findBottlerocketImages(imageIds, deadline);
    return described.map(({ account, instance }) => ({
      ...toNode(instance, { account, region: clients.region }),
      platform: platformOf(instance, bottlerocketImages),
    }));
  };

  return {
    async get(refs, deadline) {
      const ids = [...new Set(refs.map(({ id }) => id))];
      const found: DescribedInstance[] = [];
      for (const some of chunks(ids, idsLimit)) {
        const described = await retryWithoutMissing(some, (InstanceIds) =>
          describeInstances(clients, { InstanceIds }, deadline),
        );
        found.push(...(described ?? []));
      }
      return toNodes(found, deadline);
    },

    async list(clusters, deadline) {
      const Filters = [
        { Name: 'tag-key', Values: clusterTagKeys(clusters) },
        { Name: 'instance-state-name', Values: liveStates },
      ];
      const described = await describeInstances(clients, { Filters, MaxResults: 1_000 }, deadline);
      const nodes = await toNodes(described, deadline);
      // The API filter matches only tag keys, so tag values are checked here.
      const isSelected = (name: string) => clusters.includes('*') || clusters.includes(name);
      return nodes.filter((node) => node.clusters.some(isSelected));
    },
  };
}

/** The maximum number of ids in one DescribeInstances call (EC2 API reference). */
const idsLimit = 1_000;

const liveStates = ['pending', 'running'];

async function describeInstances(
  { ec2 }: Clients,
  filter: DescribeInstancesCommandInput,
  deadline: Deadline,
): Promise<DescribedInstance[]> {
  const pages = await listAll('ec2:DescribeInstances', deadline, (next, options) =>
    ec2.send(new DescribeInstancesCommand({ ...filter, ...next }), options),
  );
  return pages
    .flatMap(({ Reservations = [] }) => Reservations)
    .flatMap(({ OwnerId = '', Instances = [] }) =>
      Instances.map((instance) => ({ account: OwnerId, instance })),
    );
}

type FindImages = (imageIds: readonly string[], deadline: Deadline) => Promise<ReadonlySet<string>>;

/**
 * Returns a function that finds the Bottlerocket images among the given images. Only the name of an AMI identifies the
 * operating system (bottlerocket-os/bottlerocket: `bottlerocket-aws-k8s-VERSION-ARCH-vRELEASE`); DescribeInstances does
 * not return that name. A copy of an image under another name is not recognized; its nodes then report that they have
 * no iptables.
 */
function makeBottlerocketFinder({ ec2 }: Clients): FindImages {
  // An AMI never changes, so the results are cached.
  const known = new Set<string>();
  const bottlerocket = new Set<string>();
  return async (imageIds, deadline) => {
    const unknown = [...new Set(imageIds)].filter((id) => !known.has(id));
    // The name pattern counts as one of the filter's values.
    for (const some of chunks(unknown, filterValuesLimit - 1)) {
      const Filters = [
        { Name: 'image-id', Values: some },
        { Name: 'name', Values: ['bottlerocket-*'] },
      ];
      const pages = await listAll('ec2:DescribeImages', deadline, (next, options) =>
        ec2.send(new DescribeImagesCommand({ Filters, IncludeDeprecated: true, ...next }), options),
      );
      for (const { ImageId } of pages.flatMap(({ Images = [] }) => Images)) bottlerocket.add(ImageId ?? '');
      for (const id of some) known.add(id);
    }
    return bottlerocket;
  };
}

function platformOf(instance: Instance, bottlerocketImages: ReadonlySet<string>): Node['platform'] {
  if (isWindows(instance)) return 'windows';
  return bottlerocketImages.has(instance.ImageId ?? '') ? 'bottlerocket' : 'linux';
}

function isWindows({ Platform, PlatformDetails }: Instance): boolean {
  return Platform?.toLowerCase() === 'windows' || /^windows/i.test(PlatformDetails ?? '');
}

/** Returns all cluster keys if there are too many names for one call, or if EC2 would treat a name as a wildcard. */
function clusterTagKeys(clusters: readonly string[]): string[] {
  const namesLimit = filterValuesLimit - clusterValueKeys.length - liveStates.length;
  const canFilterByName = clusters.length <= namesLimit && !clusters.some((name) => /[*?\\]/.test(name));
  const names = canFilterByName ? clusters : ['*'];
  return [...names.map((name) => `${clusterKeyPrefix}${name}`), ...clusterValueKeys];
}

const tagsOf = ({ Tags = [] }: Instance): Tags =>
  new Map(Tags.map(({ Key = '', Value = '' }) => [Key, Value]));

/**
 * Returns the names of the node's clusters. Malformed names are included: without them, a node of two clusters could
 * look like a node of one cluster. A `kubernetes.io/cluster/NAME` tag is valid with any value, as in
 * kubernetes/cloud-provider-aws (`tags.go`).
 */
function clustersOf(tags: Tags): string[] {
  const names = [...tags].map(([key, value]) => clusterNameIn(key, value));
  return [...new Set(names)].filter((name) => name !== '').sort();
}

function clusterNameIn(key: string, value: string): string {
  if (key.startsWith(clusterKeyPrefix)) return key.slice(clusterKeyPrefix.length);
  return clusterValueKeys.includes(key) ? value : '';
}

const states: Readonly<Record<string, Node['state']>> = {
  pending: 'starting',
  running: 'running',
  stopping: 'stopped',
  stopped: 'stopped',
};

function toNode(
  instance: Instance,
  location: { readonly account: string; readonly region: string },
): Omit<AwsNode, 'platform'> {
  const { InstanceId: id = '', State, LaunchTime, PrivateIpAddress } = instance;
  const tags = tagsOf(instance);
  return {
    ref: { cloud: 'aws', ...location, id },
    name: tags.get('Name') ?? instance.PrivateDnsName ?? id,
    clusters: clustersOf(tags),
    state: states[State?.Name ?? ''] ?? 'gone',
    isControlPlane: controlPlaneTags.some(([key, value]) =>
      value === undefined ? tags.has(key) : tags.get(key) === value,
    ),
    status: parseStatus(tags),
    network: networkOf(instance),
    ...definedOnly({
      address: tryParseAddress(PrivateIpAddress ?? ''),
      launchedAt: LaunchTime,
      recorded: recordedOf(tags, LaunchTime),
      lastPush: lastPushOf(tags, LaunchTime),
    }),
  };
}

function networkOf({
  VpcId: vpcId,
  SubnetId: subnetId,
  NetworkInterfaces = [],
}: Instance): NodeNetwork | undefined {
  if (vpcId === undefined || subnetId === undefined) return undefined;
  const own = NetworkInterfaces.filter(({ VpcId }) => VpcId === vpcId);
  const others = distinct(own.map(({ SubnetId }) => SubnetId)).filter((id) => id !== subnetId);
  return { vpcId, subnetId, otherSubnetIds: others.sort() };
}
