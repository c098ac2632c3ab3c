import type { protos } from '@google-cloud/compute';
import { nodeKey, type GcpNodeRef, type Node } from '../core/node';
import type { Deadline, Nodes } from '../core/ports';
import type { Recorded, Report } from '../core/report';
import { callOptions, mapLimited, type Clients } from './clients';
import { orAbsent, retrying } from './errors';
import { ruleSetIdIn, ruleSetKey, type MetadataItem } from './metadata';
import { readStatus } from './status';

export type Instance = protos.google.cloud.compute.v1.IInstance;

/** What the last look-up saw of a node, so that routes and channel need not ask for it again. */
const seen = new WeakMap<Node, Instance>();

/** @returns undefined for an instance that does not exist (any more) */
export function readInstance(
  clients: Clients,
  { project, zone, id: instance }: GcpNodeRef,
  deadline: Deadline,
): Promise<Instance | undefined> {
  return orAbsent(
    retrying(`read instance ${instance}`, deadline, async () => {
      const client = await clients.instances();
      // The id stands where a name may: names are reused (discovery document, compute.instances.get).
      const [found] = await client.get({ project, zone, instance }, callOptions(deadline));
      return found;
    }),
  );
}

/** As the last look-up saw it, or as it is now when this node was not looked up here. */
export async function instanceOf(
  clients: Clients,
  node: Node,
  deadline: Deadline,
): Promise<Instance | undefined> {
  return seen.get(node) ?? (await readInstance(clients, gcpRef(node), deadline));
}

export function gcpRef({ ref }: Node): GcpNodeRef {
  if (ref.cloud !== 'gcp') throw new TypeError(`${nodeKey(ref)} is not a Google Cloud node`);
  return ref;
}

/** @param projects where `list` looks; none means the project of the credentials */
export function makeGcpNodes(clients: Clients, projects: readonly string[]): Nodes {
  async function get(refs: Parameters<Nodes['get']>[0], deadline: Deadline): Promise<Node[]> {
    const wanted = new Map(refs.filter((ref) => ref.cloud === 'gcp').map((ref) => [nodeKey(ref), ref]));
    const found = await mapLimited([...wanted.values()], async (ref) => {
      const instance = await readInstance(clients, ref, deadline);
      return instance && withRecorded(toNode(ref, instance), instance, deadline);
    });
    return found.filter((node) => node !== undefined);
  }

  /**
   * Every instance is listed, 500 a page, and looked through here: the API cannot filter by metadata items or
   * by label keys that hold the cluster's name, and a filter that loses nodes is worse than a longer answer.
   */
  async function list(clusters: readonly string[], deadline: Deadline): Promise<Node[]> {
    const isWanted = ({ clusters: named }: Node) =>
      named.some((cluster) => clusters.includes('*') || clusters.includes(cluster));
    const places = projects.length > 0 ? projects : [await ownProject(clients, deadline)];
    const listed = await mapLimited(places, (project) => listInstances(project, deadline));
    const nodes = listed.flat().filter(([node]) => isWanted(node));
    return mapLimited(nodes, ([node, instance]) => withRecorded(node, instance, deadline));
  }

  function listInstances(project: string, deadline: Deadline): Promise<[Node, Instance][]> {
    return retrying(`list the instances of ${project}`, deadline, async () => {
      const client = await clients.instances();
      const listed: [Node, Instance][] = [];
      const request = { project, maxResults: 500 };
      for await (const [, { instances }] of client.aggregatedListAsync(request, callOptions(deadline))) {
        for (const instance of instances ?? []) {
          const ref = {
            cloud: 'gcp',
            project,
            zone: lastOf(instance.zone),
            id: String(instance.id),
          } as const;
          listed.push([toNode(ref, instance), instance]);
        }
      }
      return listed;
    });
  }

  /** A node that was never handed a rule set has proven nothing: no need to ask. */
  async function withRecorded(node: Node, instance: Instance, deadline: Deadline): Promise<Node> {
    const wasPushed = itemsOf(instance).some(({ key }) => key === ruleSetKey);
    const status = wasPushed ? await readStatus(clients, gcpRef(node), deadline) : undefined;
    const recorded = status?.report && recordedOf(status.report, instance);
    const complete = recorded ? { ...node, recorded } : node;
    seen.set(complete, instance);
    return complete;
  }

  return { get, list };
}

const ownProject = (clients: Clients, deadline: Deadline): Promise<string> =>
  retrying('tell the project of the credentials', deadline, () => clients.project());

/**
 * A report outlives what it is about: another rule set may have been handed over since, and guest attributes
 * stay when a VM stops, while its rules may not. Then the node may have rules, but no proof of them.
 */
function recordedOf({ id, proven }: Report, instance: Instance): Recorded | undefined {
  if (id === null) return undefined;
  const isCurrent = instance.status === 'RUNNING' && ruleSetIdIn(itemsOf(instance)) === id;
  return { ruleSetId: id, isProven: proven && isCurrent };
}

export const itemsOf = ({ metadata }: Instance): MetadataItem[] =>
  (metadata?.items ?? []).map(({ key, value }) => ({ key: key ?? '', value: value ?? '' }));

/** The last part of a resource's URL. */
const lastOf = (url: string | null | undefined): string => url?.split('/').at(-1) ?? '';

const states: Readonly<Record<string, Node['state']>> = {
  PENDING: 'starting',
  PROVISIONING: 'starting',
  STAGING: 'starting',
  REPAIRING: 'starting',
  RUNNING: 'running',
  // It runs until its grace period ends.
  PENDING_STOP: 'running',
  DEPROVISIONING: 'gone',
};

function toNode(ref: GcpNodeRef, instance: Instance): Node {
  return {
    ref,
    name: instance.name ?? ref.id,
    clusters: clustersOf(instance),
    // STOPPING, SUSPENDED, TERMINATED and the like, and whatever Google adds.
    state: states[String(instance.status)] ?? 'stopped',
    platform: isWindows(instance) ? 'windows' : 'linux',
    isControlPlane: controlPlaneLabels.some((label) => Object.hasOwn(instance.labels ?? {}, label)),
  };
}

/** kOps labels the nodes of a control plane so; GKE shows none of its own. */
const controlPlaneLabels = ['k8s-io-role-control-plane', 'k8s-io-role-master'];

const clusterInKey = 'kubernetes-io-cluster-';

/**
 * GKE labels its nodes and names the cluster in their metadata; others put the name into a label key or a tag.
 * As they are: a malformed name beside a good one makes the node ambiguous.
 */
function clustersOf({ labels, metadata, tags }: Instance): string[] {
  const named = [
    labels?.['goog-k8s-cluster-name'],
    metadata?.items?.find(({ key }) => key === 'cluster-name')?.value,
    ...[...Object.keys(labels ?? {}), ...(tags?.items ?? [])]
      .filter((text) => text.startsWith(clusterInKey))
      .map((text) => text.slice(clusterInKey.length)),
  ];
  return [...new Set(named.filter((name) => typeof name === 'string'))];
}

function isWindows({ disks }: Instance): boolean {
  const boot = disks?.find((disk) => disk.boot) ?? disks?.[0];
  return (
    boot?.guestOsFeatures?.some(({ type }) => type === 'WINDOWS') === true ||
    boot?.licenses?.some((license) => license.includes('/projects/windows-')) === true
  );
}
