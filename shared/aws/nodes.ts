import {
  DescribeImagesCommand,
  DescribeInstancesCommand,
  type DescribeInstancesCommandInput,
  type Instance,
  type Tag,
} from '@aws-sdk/client-ec2';
import type { Node } from '../core/node';
import type { Deadline, Nodes } from '../core/ports';
import type { Recorded } from '../core/report';
import { allPages, call, chunks, withoutMissing, type Clients } from './clients';
import { clusterKeyPrefix, clusterValueKeys, ruleSetTag, statusTag } from './names';

/** A node and where it stands in the network, so that its routes are found without asking for it again. */
export interface AwsNode extends Node {
  readonly subnetId?: string;
  readonly vpcId?: string;
}

interface Described {
  readonly account: string;
  readonly instance: Instance;
}

export function makeNodes(clients: Clients): Nodes {
  const describe = async (
    filter: DescribeInstancesCommandInput,
    deadline: Deadline,
  ): Promise<Described[]> => {
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

  const toNodes = async (described: readonly Described[], deadline: Deadline): Promise<AwsNode[]> => {
    const bottlerocket = await findBottlerocket(described, deadline);
    return described.map(({ account, instance }) => toNode(instance, account, clients.region, bottlerocket));
  };

  /** AMI → whether it is Bottlerocket. An AMI never changes, so it is asked for once. */
  const images = new Map<string, boolean>();

  /**
   * Bottlerocket says so in the name of its AMI and in nothing that DescribeInstances returns
   * (bottlerocket-os/bottlerocket: `bottlerocket-aws-k8s-VERSION-ARCH-vRELEASE`). A copy under another name
   * is not seen here; its node then reports that it has no iptables.
   */
  const findBottlerocket = async (described: readonly Described[], deadline: Deadline) => {
    const ids = new Set(described.flatMap(({ instance: { ImageId } }) => ImageId ?? []));
    for (const unknown of chunks(
      [...ids].filter((id) => !images.has(id)),
      filterValuesLimit,
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
      const found: Described[] = [];
      for (const some of chunks(ids, idsLimit)) {
        found.push(
          ...((await withoutMissing(some, (InstanceIds) => describe({ InstanceIds }, deadline))) ?? []),
        );
      }
      return toNodes(found, deadline);
    },

    async list(clusters, deadline) {
      const filters = [
        { Name: 'tag-key', Values: clusterTagKeys(clusters) },
        { Name: 'instance-state-name', Values: ['pending', 'running'] },
      ];
      const nodes = await toNodes(await describe({ Filters: filters, MaxResults: 1000 }, deadline), deadline);
      // The filter tells keys, not values, and a name may hold what a filter takes for a wildcard.
      const isWanted = (name: string) => clusters.includes('*') || clusters.includes(name);
      return nodes.filter((node) => node.clusters.some(isWanted));
    },
  };
}

/** Ids in one DescribeInstances, and values in all filters of one call (EC2 API reference). */
const idsLimit = 1_000;
const filterValuesLimit = 150;

const clusterName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/;

function clusterTagKeys(clusters: readonly string[]): string[] {
  const isNarrow = clusters.length <= filterValuesLimit && clusters.every((name) => clusterName.test(name));
  const names = isNarrow ? clusters : ['*'];
  return [...names.map((name) => `${clusterKeyPrefix}${name}`), ...clusterValueKeys];
}

/** Any value of `kubernetes.io/cluster/NAME` counts, as for kubernetes/cloud-provider-aws (`tags.go`). */
function clustersOf(tags: readonly Tag[]): string[] {
  const names = tags.map(({ Key = '', Value = '' }) =>
    Key.startsWith(clusterKeyPrefix)
      ? Key.slice(clusterKeyPrefix.length)
      : clusterValueKeys.includes(Key)
        ? Value
        : '',
  );
  return [...new Set(names)].filter((name) => clusterName.test(name)).sort();
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
  const { InstanceId: id = '', Tags: tags = [], State, SubnetId, VpcId } = instance;
  const recorded = recordedIn(tags, instance.LaunchTime);
  return {
    ref: { cloud: 'aws', account, region, id },
    name: valueOf(tags, 'Name') ?? instance.PrivateDnsName ?? id,
    clusters: clustersOf(tags),
    state: states[State?.Name ?? ''] ?? 'gone',
    platform: isWindows(instance) ? 'windows' : isBottlerocket(instance.ImageId) ? 'bottlerocket' : 'linux',
    ...(recorded && { recorded }),
    ...(SubnetId !== undefined && { subnetId: SubnetId }),
    ...(VpcId !== undefined && { vpcId: VpcId }),
  };
}

function isWindows({ Platform, PlatformDetails }: Instance): boolean {
  return Platform?.toLowerCase() === 'windows' || /^windows/i.test(PlatformDetails ?? '');
}

const valueOf = (tags: readonly Tag[], key: string) => tags.find(({ Key }) => Key === key)?.Value;

/** The value of the status tag. It is the same for many nodes, so that one CreateTags serves them. */
export function printStatus(isProven: boolean, at: Date): string {
  return `${isProven ? 'proven' : 'failed'} ${at.toISOString()}`;
}

/**
 * Only what was recorded since this launch counts: "launch more like this" copies tags to an instance that
 * proved nothing, and a stopped instance comes back with an empty kernel.
 */
function recordedIn(tags: readonly Tag[], launched: Date | undefined): Recorded | undefined {
  const ruleSetId = valueOf(tags, ruleSetTag) ?? '';
  const [, verdict, at = ''] = /^(proven|failed) (\S+)$/.exec(valueOf(tags, statusTag) ?? '') ?? [];
  const isOfThisLaunch = launched !== undefined && Date.parse(at) >= launched.getTime();
  if (!/^[0-9a-f]{64}$/.test(ruleSetId) || !isOfThisLaunch) return undefined;
  return { ruleSetId, isProven: verdict === 'proven' };
}
