import {
  DescribeImagesCommand,
  DescribeInstancesCommand,
  type DescribeInstancesCommandInput,
  type Instance,
} from '@aws-sdk/client-ec2';
import { tryParseAddress } from '../../core/model/cidr';
import type { AwsNodeRef, Node } from '../../core/model/node';
import type { Deadline, NodeInventory } from '../../core/cloud';
import { allPages, call } from '../client/call';
import { retryWithoutMissing } from '../client/errors';
import { filterValuesLimit } from '../client/pages';
import { chunks } from '../../core/util/collections';
import type { Clients } from '../client/clients';
import { clusterKeyPrefix, clusterValueKeys, controlPlaneTags } from '../names';
import { lastPushOf, recordedOf, parseStatus, type StatusRecord } from '../deliver/status';

/**
 * A node, where it stands in the network, and the status written on it: so that its routes are found, and its
 * status is outdated, without asking for it again.
 */
export interface AwsNode extends Node {
  readonly ref: AwsNodeRef;
  readonly status: StatusRecord | undefined;
  /** Undefined for a terminated instance. */
  readonly network: { readonly vpcId: string; readonly subnetId: string } | undefined;
}

interface DescribedInstance {
  readonly account: string;
  readonly instance: Instance;
}

export function makeNodes(clients: Clients): NodeInventory<AwsNode> {
  const describe = async (
    filter: DescribeInstancesCommandInput,
    deadline: Deadline,
  ): Promise<DescribedInstance[]> => {
    const pages = await allPages((next) =>
      call('ec2:DescribeInstances', deadline, (options) =>
        clients.ec2.send(new DescribeInstancesCommand({ ...filter, ...next }), options),
      ),
    );
    return pages
      .flatMap(({ Reservations = [] }) => Reservations)
      .flatMap(({ OwnerId = '', Instances = [] }) =>
        Instances.map((instance) => ({ account: OwnerId, instance })),
      );
  };

  const toNodes = async (described: readonly DescribedInstance[], deadline: Deadline): Promise<AwsNode[]> => {
    // On one that has a record the program ran.
    const unknown = described.filter(({ instance }) => !recordedOf(tagsOf(instance), instance.LaunchTime));
    const bottlerocket = await findBottlerocket(unknown, deadline);
    return described.map(({ account, instance }) => toNode(instance, account, clients.region, bottlerocket));
  };

  /** AMI → whether it is Bottlerocket. An AMI never changes, so it is asked for once. */
  const images = new Map<string, boolean>();

  /**
   * Bottlerocket says so in the name of its AMI and in nothing that DescribeInstances returns
   * (bottlerocket-os/bottlerocket: `bottlerocket-aws-k8s-VERSION-ARCH-vRELEASE`). A copy under another name
   * is not seen here; its node then reports that it has no iptables.
   */
  const findBottlerocket = async (described: readonly DescribedInstance[], deadline: Deadline) => {
    const ids = new Set(described.flatMap(({ instance: { ImageId } }) => ImageId ?? []));
    for (const unknown of chunks(
      [...ids].filter((id) => !images.has(id)),
      // One value is the name.
      filterValuesLimit - 1,
    )) {
      const found = await allPages((next) =>
        call('ec2:DescribeImages', deadline, (options) =>
          clients.ec2.send(
            new DescribeImagesCommand({
              Filters: [
                { Name: 'image-id', Values: unknown },
                { Name: 'name', Values: ['bottlerocket-*'] },
              ],
              IncludeDeprecated: true,
              ...next,
            }),
            options,
          ),
        ),
      );
      const names = new Set(found.flatMap(({ Images = [] }) => Images.map(({ ImageId }) => ImageId)));
      for (const id of unknown) images.set(id, names.has(id));
    }
    return (id: string | undefined) => id !== undefined && images.get(id) === true;
  };

  return {
    async get(refs, deadline) {
      const ids = [...new Set(refs.map(({ id }) => id))];
      const found: DescribedInstance[] = [];
      for (const some of chunks(ids, idsLimit)) {
        found.push(
          ...((await retryWithoutMissing(some, (InstanceIds) => describe({ InstanceIds }, deadline))) ?? []),
        );
      }
      return toNodes(found, deadline);
    },

    async list(clusters, deadline) {
      const filters = [
        { Name: 'tag-key', Values: clusterTagKeys(clusters) },
        { Name: 'instance-state-name', Values: liveStates },
      ];
      const nodes = await toNodes(await describe({ Filters: filters, MaxResults: 1000 }, deadline), deadline);
      // The filter tells keys, not values, and a name may hold what a filter takes for a wildcard.
      const isSelected = (name: string) => clusters.includes('*') || clusters.includes(name);
      return nodes.filter((node) => node.clusters.some(isSelected));
    },
  };
}

/** Ids in one DescribeInstances (EC2 API reference). */
const idsLimit = 1_000;

const liveStates = ['pending', 'running'];

/** All keys of clusters where the names are too many for one call, or would be taken for wildcards. */
function clusterTagKeys(clusters: readonly string[]): string[] {
  const namesLimit = filterValuesLimit - clusterValueKeys.length - liveStates.length;
  const canFilterByName = clusters.length <= namesLimit && !clusters.some((name) => /[*?\\]/.test(name));
  const names = canFilterByName ? clusters : ['*'];
  return [...names.map((name) => `${clusterKeyPrefix}${name}`), ...clusterValueKeys];
}

type Tags = ReadonlyMap<string, string>;

const tagsOf = ({ Tags = [] }: Instance): Tags =>
  new Map(Tags.map(({ Key = '', Value = '' }) => [Key, Value]));

/**
 * Any value of `kubernetes.io/cluster/NAME` counts, as for kubernetes/cloud-provider-aws (`tags.go`). Names stay
 * as they are, data to compare: leaving out an odd one would make a node of two clusters look like one of one.
 */
function clustersOf(tags: Tags): string[] {
  const names = [...tags].map(([key, value]) =>
    key.startsWith(clusterKeyPrefix)
      ? key.slice(clusterKeyPrefix.length)
      : clusterValueKeys.includes(key)
        ? value
        : '',
  );
  return [...new Set(names)].filter((name) => name !== '').sort();
}

const states: Readonly<Record<string, Node['state']>> = {
  pending: 'starting',
  running: 'running',
  stopping: 'stopped',
  stopped: 'stopped',
};

function toNode(
  instance: Instance,
  account: string,
  region: string,
  isBottlerocket: (imageId: string | undefined) => boolean,
): AwsNode {
  const { InstanceId: id = '', State, SubnetId, VpcId } = instance;
  const tags = tagsOf(instance);
  const recorded = recordedOf(tags, instance.LaunchTime);
  const address = tryParseAddress(instance.PrivateIpAddress ?? '');
  const lastPush = lastPushOf(tags, instance.LaunchTime);
  return {
    ref: { cloud: 'aws', account, region, id },
    name: tags.get('Name') ?? instance.PrivateDnsName ?? id,
    clusters: clustersOf(tags),
    state: states[State?.Name ?? ''] ?? 'gone',
    platform: isWindows(instance) ? 'windows' : isBottlerocket(instance.ImageId) ? 'bottlerocket' : 'linux',
    isControlPlane: controlPlaneTags.some(([key, value]) =>
      value === undefined ? tags.has(key) : tags.get(key) === value,
    ),
    ...(address && { address }),
    ...(instance.LaunchTime && { launchedAt: instance.LaunchTime }),
    ...(recorded && { recorded }),
    ...(lastPush && { lastPush }),
    status: parseStatus(tags),
    network: VpcId !== undefined && SubnetId !== undefined ? { vpcId: VpcId, subnetId: SubnetId } : undefined,
  };
}

function isWindows({ Platform, PlatformDetails }: Instance): boolean {
  return Platform?.toLowerCase() === 'windows' || /^windows/i.test(PlatformDetails ?? '');
}
