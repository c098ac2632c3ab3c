import type { Cidr } from '../../shared/core/model/cidr';
import { parseAddress } from '../../shared/core/model/cidr';
import { clusterConfig } from '../../shared/core/model/config';
import { isPodRouted } from '../../shared/core/doctor/check-masquerading';
import type { Findings } from '../../shared/core/doctor/findings';
import { PeermasqError, PermanentError, RetryableError } from '../../shared/core/model/errors';
import { explain } from '../../shared/core/explain/explain';
import type { Explanation } from '../../shared/core/explain/simulate/packet';
import { parseSnapshot } from '../../shared/core/explain/parse/snapshot';
import { nodeKey, routeSourceKinds, type Node, type NetworkContext } from '../../shared/core/model/node';
import type { Deadline } from '../../shared/core/cloud';
import { escapeControls } from '../../shared/core/util/shell';
import { packetOf, type SourceEndpoint, type PacketOptions, type DestinationEndpoint } from './connection';
import { withProgress } from './progress';
import { interruptible } from './interruptible';
import { dryRun, type NodePlan } from './dry-run';
import { deadlineOf, openTargets, selectionOf, type TargetOptions } from './targets';

/** For the help of commands that look at a node. */
export const snapshotHelp = `
To show its rules a node is sent an SSM command that changes nothing; on Google Cloud the key peermasq-snapshot is written
to its metadata, and taken away again.`;

export type FindingsOptions = TargetOptions & PacketOptions;

/** Everything there is to find out about a connection, from the node and from its cloud. */
export async function gatherFindings(
  from: SourceEndpoint,
  to: DestinationEndpoint,
  options: FindingsOptions,
): Promise<Findings> {
  const found = await findNode(from, options);
  const what = `Asking ${found.target.name} about the way, and ${escapeControls(found.node.name)} to show its rules`;
  return withProgress(what, gatherNodeFindings(found, from, to, options));
}

async function gatherNodeFindings(
  found: NodePlan,
  from: SourceEndpoint,
  to: DestinationEndpoint,
  options: FindingsOptions,
): Promise<Findings> {
  const { target, node, outcome } = found;
  const deadline = deadlineOf(options);
  const [networkContext, rules] = await Promise.all([
    readNetworkContext(found, deadline),
    explainOnNode(found, from, to, options),
  ]);
  const pod = from.pod;
  const source = expectedSource(node, pod, networkContext, rules);
  const { address: destination, port } = effectiveDestination(rules, to);
  const reach = await target.reach.checks({ node, source, destination, port }, deadline);
  const clusterRanges = clusterRangesOf(found, networkContext);
  return {
    node,
    outcome,
    networkContext,
    requested: to,
    destination,
    clusterRanges,
    rules,
    reach,
    ...(pod && { pod }),
  };
}

/** Where the node's rules send it, as far as that is one place; else where it was to go. */
function effectiveDestination(
  rules: Explanation | PeermasqError,
  { address, port }: DestinationEndpoint,
): Pick<DestinationEndpoint, 'address' | 'port'> {
  const [only, ...others] = rules instanceof Error ? [] : rules.destinations;
  if (!only || others.length > 0 || only.address === null || only.port === null) return { address, port };
  return { address: parseAddress(only.address), port: only.port };
}

function clusterRangesOf(
  { target: { config }, cluster }: NodePlan,
  { podRanges }: NetworkContext,
): Findings['clusterRanges'] {
  const { pods, services } = clusterConfig(config, cluster) ?? { pods: [], services: [] };
  return [
    ...[...pods, ...podRanges].map((cidr) => ({ cidr, of: 'pods' }) as const),
    ...services.map((cidr) => ({ cidr, of: 'services' }) as const),
  ];
}

async function findNode(from: SourceEndpoint, options: TargetOptions): Promise<NodePlan> {
  if (from.node === undefined) {
    throw new PermanentError(
      'no-node',
      `Which node pod ${from.text} is on is not known`,
      'Say --node NODE (kubectl get pod -o wide shows it), or give the pod as NAMESPACE/POD.',
    );
  }
  const targets = await openTargets(options);
  const [{ config }] = targets as [NodePlan['target']];
  const requested = { ...selectionOf(options, config), node: from.node, deadline: deadlineOf(options) };
  const { nodes, errors } = await dryRun(targets, requested);
  const [found] = nodes;
  if (found) return found;
  throw errors[0]?.error ?? new Error('A survey of a node tells of it, or why not');
}

async function readNetworkContext({ target, node }: NodePlan, deadline: Deadline): Promise<NetworkContext> {
  const networkContext = await target.cloud.routes.getNetworkContexts([node], routeSourceKinds, deadline);
  const own = networkContext.get(nodeKey(node.ref));
  if (own) return own;
  throw new RetryableError(
    'no-network',
    `The network of ${node.name} cannot be seen`,
    'Look whether the node still exists: npx peermasq status --all',
    10,
  );
}

/** That the rules cannot be seen does not keep the other checks from being made. */
async function explainOnNode(
  { target, node }: NodePlan,
  { pod }: SourceEndpoint,
  to: DestinationEndpoint,
  options: FindingsOptions,
): Promise<Explanation | PeermasqError> {
  try {
    const source = pod ?? nodeAddress(node);
    const snapshot = parseSnapshot(
      await interruptible((signal) => target.inspection.look(node, deadlineOf(options), signal)),
    );
    return explain(snapshot, packetOf(source, pod === undefined, to, options));
  } catch (error) {
    if (error instanceof PeermasqError) return error;
    throw error;
  }
}

function nodeAddress({ name, address }: Node): Cidr {
  if (address !== undefined) return parseAddress(address);
  throw new PermanentError('no-address', `${name} has no private address`, 'Name a node that runs.');
}

/**
 * The address that the peer is to see: the node's, unless pods are routed. Where the rules do otherwise that is told
 * as masquerading, and not as a route back that is missing.
 */
function expectedSource(
  node: Node,
  pod: Cidr | undefined,
  networkContext: NetworkContext,
  rules: Explanation | PeermasqError,
): Cidr {
  if (!pod || !isPodRouted(pod, networkContext)) return nodeAddress(node);
  const source = rules instanceof Error ? null : rules.source;
  return source === null ? pod : parseAddress(source);
}
