import { PeermasqError, PermanentError } from '../../core/model/errors';
import { nodeKey, type GcpNodeRef, type Node } from '../../core/model/node';
import type { Deadline, NodeInventory } from '../../core/cloud';
import type { RecordedState, Report } from '../../core/model/report';
import { callOptions, mapLimited, type Clients } from '../client/clients';
import { call } from '../client/errors';
import { isCurrentVersion, assignedRuleSetIn, type AssignedRuleSet } from '../deliver/metadata';
import { metadataItems, lastSegment, readInstance, type GcpNode, type Instance } from './instance';
import { lastPushOf, provenAt, startedAt } from '../deliver/status';
import { readReport, type ReportState } from '../deliver/guest-attributes';

/**
 * @param projects where `list` looks; none means the project of the credentials
 * @param program the node program's text: a node that was handed another one is not up to date
 */
export function makeNodes(
  clients: Clients,
  projects: readonly string[],
  program: string,
): NodeInventory<GcpNode> {
  async function get(refs: Parameters<NodeInventory['get']>[0], deadline: Deadline): Promise<GcpNode[]> {
    const wanted = new Map(refs.filter((ref) => ref.cloud === 'gcp').map((ref) => [nodeKey(ref), ref]));
    const found = await mapLimited([...wanted.values()], async (ref) => {
      const instance = await readInstance(clients, ref, deadline);
      return instance && withRecorded(toNode(ref, instance), deadline);
    });
    return found.filter((node) => node !== undefined);
  }

  /**
   * Every instance is listed, 500 a page, and looked through here: the API cannot filter by metadata items or
   * by label keys that hold the cluster's name, and a filter that loses nodes is worse than a longer answer.
   */
  async function list(clusters: readonly string[], deadline: Deadline): Promise<GcpNode[]> {
    const isSelected = ({ clusters: named }: Node) =>
      named.some((cluster) => clusters.includes('*') || clusters.includes(cluster));
    const searched = projects.length > 0 ? projects : [await credentialsProject(clients, deadline)];
    const listed = await mapLimited(searched, (project) => listInstances(project, deadline));
    const nodes = listed.flat().filter(isSelected);
    return mapLimited(nodes, async (node) => flagForRecording(await withRecorded(node, deadline)));
  }

  function listInstances(project: string, deadline: Deadline): Promise<GcpNode[]> {
    return call(`list the instances of ${project}`, deadline, async () => {
      const client = await clients.instances();
      const listed: GcpNode[] = [];
      const intern = makeInterner();
      const request = { project, maxResults: 500 };
      for await (const [, { instances }] of client.aggregatedListAsync(request, callOptions(deadline))) {
        for (const instance of instances ?? []) {
          intern(instance);
          const ref = {
            cloud: 'gcp',
            project,
            zone: lastSegment(instance.zone),
            id: String(instance.id),
          } as const;
          listed.push(toNode(ref, instance));
        }
      }
      return listed;
    });
  }

  /**
   * A node that was never handed a rule set has proven nothing, and one whose label says that it has proven this
   * one is asked again only now and then: what is left to ask are those in between.
   */
  async function withRecorded(node: GcpNode, deadline: Deadline): Promise<GcpNode> {
    const assigned = assignedRuleSetIn(metadataItems(node.instance));
    const recorded = assigned && (await recordedOf(node, assigned, deadline));
    return recorded ? { ...node, recorded } : node;
  }

  async function recordedOf(
    { ref, instance }: GcpNode,
    assigned: AssignedRuleSet,
    deadline: Deadline,
  ): Promise<RecordedState> {
    const { ruleSetId, routes } = assigned;
    const isUpToDate = isCurrentVersion(metadataItems(instance), program);
    const at = isUpToDate ? provenAt(instance, assigned) : undefined;
    const base = { ruleSetId, isProven: false, ...(routes !== undefined && { routes }) };
    // Before that its rules are not in force again, and soon after it has none.
    if (instance.status !== 'RUNNING') return base;
    if (at && !isSampled(ref, new Date())) return { ...base, isProven: true, at };
    const status = await tryReadReport(clients, ref, instance, deadline);
    if (status?.kind !== 'report' || status.report.id === null) return base;
    const { report } = status;
    const isForAssigned = report.proven && report.id === ruleSetId && isFromCurrentBoot(report, instance);
    const isProven = isForAssigned && isUpToDate;
    return { ...base, ruleSetId: status.report.id, isProven, ...(isProven && at && { at }) };
  }

  return { get, list };
}

const credentialsProject = (clients: Clients, deadline: Deadline): Promise<string> =>
  call('tell the project of the credentials', deadline, () => clients.project());

/** One node whose report cannot be read is not proven; that must not keep the others from their rules. */
async function tryReadReport(
  clients: Clients,
  ref: GcpNodeRef,
  instance: Instance,
  deadline: Deadline,
): Promise<ReportState | undefined> {
  try {
    return await readReport(clients, ref, instance, deadline);
  } catch (error) {
    const affectsAllNodes = error instanceof PermanentError && error.code !== 'refused';
    if (affectsAllNodes || !(error instanceof PeermasqError)) throw error;
    return undefined;
  }
}

/** The program alone is 20 KB an instance; of thousands of instances each text is kept once. */
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
 * Labels are believed, and still looked behind: at one in 67 nodes each minute, another one each time, whatever
 * the schedule of the sweep. 67 is a prime, so that no schedule in whole minutes leaves nodes out.
 */
const verificationRotation = 67n;

const isSampled = ({ id }: GcpNodeRef, now: Date): boolean =>
  BigInt(id) % verificationRotation === BigInt(Math.floor(now.getTime() / 60_000)) % verificationRotation;

/** Proven, and known from the node itself alone: a list, which comes again, should not have to ask again. */
function flagForRecording(node: GcpNode): GcpNode {
  const { recorded } = node;
  if (!recorded?.isProven || recorded.at) return node;
  return { ...node, recorded: { ...recorded, isUnrecorded: true } };
}

/** Clocks differ: the node's own may be off before it has asked for the time. */
const clockSlackMs = 120_000;

/** Guest attributes outlive a boot, and rules do not. A program that does not tell when it booted is believed. */
export function isFromCurrentBoot(report: Report, instance: Instance): boolean {
  if (report.booted === undefined || isPlannedSinceStart(report, instance)) return true;
  return report.booted * 1_000 >= startedAt(instance).getTime() - clockSlackMs;
}

/** What a node was handed since it started it took since then, whatever its clock said at the time. */
export function isPlannedSinceStart({ generation }: Report, instance: Instance): boolean {
  const started = startedAt(instance).getTime();
  return started > 0 && (generation ?? 0) >= started;
}

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

function toNode(ref: GcpNodeRef, instance: Instance): GcpNode {
  const address = instance.networkInterfaces?.[0]?.networkIP;
  const lastPush = lastPushOf(instance);
  return {
    ref,
    instance,
    name: instance.name ?? ref.id,
    clusters: clustersOf(instance),
    // STOPPING, SUSPENDED, TERMINATED and the like, and whatever Google adds.
    state: states[String(instance.status)] ?? 'stopped',
    platform: isWindows(instance) ? 'windows' : 'linux',
    isControlPlane: controlPlaneLabels.some((label) => Object.hasOwn(instance.labels ?? {}, label)),
    ...(address && { address }),
    ...(instance.lastStartTimestamp && { launchedAt: startedAt(instance) }),
    ...(lastPush && { lastPush }),
  };
}

/** kOps labels the nodes of a control plane so; GKE shows none of its own. */
const controlPlaneLabels = ['k8s-io-role-control-plane', 'k8s-io-role-master'];

const clusterKeyPrefix = 'kubernetes-io-cluster-';

/**
 * GKE labels its nodes and names the cluster in their metadata; others put the name into a label key or a tag.
 * As they are: a malformed name beside a good one makes the node ambiguous.
 */
function clustersOf({ labels, metadata, tags }: Instance): string[] {
  const named = [
    labels?.['goog-k8s-cluster-name'],
    metadata?.items?.find(({ key }) => key === 'cluster-name')?.value,
    ...[...Object.keys(labels ?? {}), ...(tags?.items ?? [])]
      .filter((text) => text.startsWith(clusterKeyPrefix))
      .map((text) => text.slice(clusterKeyPrefix.length)),
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
