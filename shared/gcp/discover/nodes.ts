import { tryParseAddress } from '../../core/model/cidr';
import { PeermasqError, PermanentError } from '../../core/model/errors';
import { nodeKey, type GcpNodeRef, type Node, type NodeRef } from '../../core/model/node';
import type { Deadline, NodeInventory } from '../../core/cloud';
import type { RecordedState } from '../../core/model/recorded-state';
import { definedOnly } from '../../core/util/collections';
import { call, listAll, mapLimited } from '../client/call';
import type { Clients } from '../client/clients';
import { undefinedIfNotFound } from '../client/errors';
import type { Operation } from '../client/operations';
import { clusterKeyPrefix, clusterLabel, clusterMetadataKey, controlPlaneLabels } from '../names';
import { lastSegment, type Instance } from './networks';
import {
  assignedRuleSetIn,
  isFromCurrentBoot,
  isProof,
  lastPushOf,
  metadataItems,
  provenAt,
  readReport,
  startedAt,
  type AssignedRuleSet,
  type MetadataItem,
  type ReportState,
} from './recorded-status';

/** A node with the instance from which it was read, so that discovery and delivery need not read it again. */
export interface GcpNode extends Node {
  readonly ref: GcpNodeRef;
  readonly instance: Instance;
  /** The change that a push made to the node's metadata after the instance was read. */
  readonly written?: Written;
}

/** A change of metadata that has started. The node's report shows whether it succeeded. */
export interface Written {
  readonly at: Date;
  readonly operation: Operation;
  /** The generation of a forced push. A report about a lower generation is not a result of this push. */
  readonly generation?: number;
}

export interface NodesOptions {
  /** The projects that `list` searches. If empty, the project of the credentials is searched. */
  readonly projects: readonly string[];
  /** Whether the node's metadata contains the current version of peermasq. */
  readonly isUpToDate: (items: readonly MetadataItem[]) => boolean;
}

export function makeNodes(clients: Clients, { projects, isUpToDate }: NodesOptions): NodeInventory<GcpNode> {
  async function get(refs: readonly NodeRef[], deadline: Deadline): Promise<GcpNode[]> {
    const gcpRefs = new Map(refs.filter((ref) => ref.cloud === 'gcp').map((ref) => [nodeKey(ref), ref]));
    const found = await mapLimited([...gcpRefs.values()], async (ref) => {
      const instance = await readInstance(clients, ref, deadline);
      return instance && withRecorded(toNode(ref, instance), deadline);
    });
    return found.filter((node) => node !== undefined);
  }

  /**
   * Lists all instances and filters them here. The API cannot filter by metadata or by label keys that contain the
   * cluster name, and a long list is better than a filter that misses nodes.
   */
  async function list(clusters: readonly string[], deadline: Deadline): Promise<GcpNode[]> {
    const isSelected = ({ clusters: named }: Node) =>
      named.some((cluster) => clusters.includes('*') || clusters.includes(cluster));
    const searched = projects.length > 0 ? projects : [await credentialsProject(clients, deadline)];
    const listed = await mapLimited(searched, (project) => listInstances(clients, project, deadline));
    const nodes = listed.flat().filter(isSelected);
    return mapLimited(nodes, async (node) => flagForRecording(await withRecorded(node, deadline)));
  }

  async function withRecorded(node: GcpNode, deadline: Deadline): Promise<GcpNode> {
    const assigned = assignedRuleSetIn(metadataItems(node.instance));
    if (!assigned) return node;
    return { ...node, recorded: await recordedOf(node, assigned, deadline) };
  }

  /**
   * Reads the reports of nodes whose label does not prove the assigned rule set, and the reports of a sample of the
   * other nodes.
   */
  async function recordedOf(
    node: GcpNode,
    assigned: AssignedRuleSet,
    deadline: Deadline,
  ): Promise<RecordedState> {
    const { ref, instance } = node;
    const hasCurrentVersion = isUpToDate(metadataItems(instance));
    const at = hasCurrentVersion ? provenAt(instance, assigned) : undefined;
    const { ruleSetId, routes } = assigned;
    const unproven = { ruleSetId, isProven: false, ...definedOnly({ routes }) };
    // The rules of a starting node are not in force yet, and the rules of a stopping node will soon no longer be in
    // force.
    if (instance.status !== 'RUNNING') return unproven;
    if (at && !isSampled(ref, new Date())) return { ...unproven, isProven: true, at };
    const state = await tryReadReport(clients, node, deadline);
    if (state?.kind !== 'report' || state.report.id === null) return unproven;
    const { report } = state;
    const provesAssigned = isProof(report) && report.id === ruleSetId && isFromCurrentBoot(report, instance);
    const isProven = provesAssigned && hasCurrentVersion;
    return {
      ...unproven,
      ruleSetId: state.report.id,
      isProven,
      ...definedOnly({ at: isProven ? at : undefined, ports: report.ports }),
    };
  }

  return { get, list };
}

/** Returns undefined if the instance does not exist. */
export function readInstance(
  clients: Clients,
  { project, zone, id: instance }: GcpNodeRef,
  deadline: Deadline,
): Promise<Instance | undefined> {
  return undefinedIfNotFound(
    call(`read instance ${instance}`, deadline, async (options) => {
      const client = await clients.instances();
      // The request contains the id instead of the name, because a name can be reused (discovery document,
      // compute.instances.get).
      return (await client.get({ project, zone, instance }, options))[0];
    }),
  );
}

const credentialsProject = (clients: Clients, deadline: Deadline): Promise<string> =>
  call('read the project of the credentials', deadline, () => clients.project());

function listInstances(clients: Clients, project: string, deadline: Deadline): Promise<GcpNode[]> {
  const intern = makeInterner();
  return listAll({
    action: `list the instances of ${project}`,
    deadline,
    list: async (options) => {
      const client = await clients.instances();
      return client.aggregatedListAsync({ project, maxResults: 500 }, options);
    },
    toItems: ([, { instances }]) =>
      (instances ?? []).map((instance) => {
        intern(instance);
        const zone = lastSegment(instance.zone);
        return toNode({ cloud: 'gcp', project, zone, id: String(instance.id) }, instance);
      }),
  });
}

/**
 * Stores equal metadata values of listed instances as one shared string. The node program alone takes 20 KB per
 * instance.
 */
function makeInterner(): (instance: Instance) => void {
  const texts = new Map<string, string>();
  return ({ metadata }) => {
    for (const item of metadata?.items ?? []) {
      const text = item.value ?? '';
      item.value = texts.get(text) ?? text;
      texts.set(text, item.value);
    }
  };
}

/**
 * Returns an unreadable report as a state instead of an error, so that only this node is treated as not proven and
 * other nodes are still handled.
 */
async function tryReadReport(
  clients: Clients,
  node: GcpNode,
  deadline: Deadline,
): Promise<ReportState | undefined> {
  try {
    return await readReport(clients, node, deadline);
  } catch (error) {
    const affectsAllNodes = error instanceof PermanentError && error.code !== 'refused';
    if (affectsAllNodes || !(error instanceof PeermasqError)) throw error;
    return undefined;
  }
}

/**
 * Labels are trusted, but each minute the reports of 1 in 67 proven nodes are read to verify their labels. Because 67
 * is prime, no schedule in whole minutes skips a node forever.
 */
const verificationRotation = 67n;

const isSampled = ({ id }: GcpNodeRef, now: Date): boolean =>
  BigInt(id) % verificationRotation === BigInt(Math.floor(now.getTime() / 60_000)) % verificationRotation;

/**
 * Flags a node whose report contains a proof that its label does not contain yet. Once the label contains the proof,
 * later lists do not read the report.
 */
function flagForRecording(node: GcpNode): GcpNode {
  const { recorded } = node;
  if (!recorded?.isProven || recorded.at) return node;
  return { ...node, recorded: { ...recorded, isRecordOutdated: true } };
}

const states: Readonly<Record<string, Node['state']>> = {
  PENDING: 'starting',
  PROVISIONING: 'starting',
  STAGING: 'starting',
  REPAIRING: 'starting',
  RUNNING: 'running',
  // The instance keeps running until its grace period ends.
  PENDING_STOP: 'running',
  DEPROVISIONING: 'gone',
};

function toNode(ref: GcpNodeRef, instance: Instance): GcpNode {
  const { name, status, labels, lastStartTimestamp, networkInterfaces } = instance;
  return {
    ref,
    instance,
    name: name ?? ref.id,
    clusters: clustersOf(instance),
    // STOPPING, SUSPENDED, TERMINATED and any other state, including future ones.
    state: states[String(status)] ?? 'stopped',
    platform: isWindows(instance) ? 'windows' : 'linux',
    isControlPlane: controlPlaneLabels.some((label) => Object.hasOwn(labels ?? {}, label)),
    ...definedOnly({
      address: tryParseAddress(networkInterfaces?.[0]?.networkIP ?? ''),
      launchedAt: lastStartTimestamp ? startedAt(instance) : undefined,
      lastPush: lastPushOf(instance),
    }),
  };
}

/**
 * Returns the cluster names of the instance. Malformed names are included, because a malformed name together with a
 * valid one makes the node ambiguous.
 */
function clustersOf({ labels, metadata, tags }: Instance): string[] {
  const keys = [...Object.keys(labels ?? {}), ...(tags?.items ?? [])];
  const names = [
    labels?.[clusterLabel],
    metadata?.items?.find(({ key }) => key === clusterMetadataKey)?.value,
    ...keys
      .filter((key) => key.startsWith(clusterKeyPrefix))
      .map((key) => key.slice(clusterKeyPrefix.length)),
  ];
  return [...new Set(names.filter((name) => typeof name === 'string'))];
}

function isWindows({ disks }: Instance): boolean {
  const boot = disks?.find((disk) => disk.boot) ?? disks?.[0];
  return (
    boot?.guestOsFeatures?.some(({ type }) => type === 'WINDOWS') === true ||
    boot?.licenses?.some((license) => license.includes('/projects/windows-')) === true
  );
}
