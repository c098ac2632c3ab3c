import type { Deadline } from '../../shared/core/cloud';
import { isPodRouted } from '../../shared/core/doctor/check-masquerading';
import type { Findings } from '../../shared/core/doctor/findings';
import { explain } from '../../shared/core/explain/explain';
import { parseSnapshot } from '../../shared/core/explain/parse/snapshot';
import type { Explanation } from '../../shared/core/explain/explanation';
import { parseAddress, type Address } from '../../shared/core/model/cidr';
import { clusterConfig } from '../../shared/core/model/config';
import { PeermasqError, PermanentError, RetryableError } from '../../shared/core/model/errors';
import { nodeKey, routeSourceKinds, type NetworkContext, type Node } from '../../shared/core/model/node';
import { definedOnly } from '../../shared/core/util/collections';
import { escapeControls } from '../../shared/core/util/shell';
import { packetOf, type DestinationEndpoint, type PacketOptions, type SourceEndpoint } from './connection';
import { deadlineOf, dryRunFor, type NodePlan } from './dry-run';
import { runWithCleanup } from './exit';
import { withProgress } from './output';
import type { TargetOptions } from './targets';

/** For the help of commands that read the rules of a node. */
export const snapshotHelp = `
To read the rules of a node, AWS nodes get an SSM command that changes nothing. On Google Cloud the metadata key
peermasq-snapshot is set on the instance and removed afterwards.`;

export type FindingsOptions = TargetOptions & PacketOptions;

interface Endpoints {
  readonly from: SourceEndpoint;
  readonly to: DestinationEndpoint;
}

/** Reads everything about a connection: from its node, and from its cloud. */
export async function gatherFindings(endpoints: Endpoints, options: FindingsOptions): Promise<Findings> {
  const found = await findNode(endpoints.from, options);
  const node = escapeControls(found.node.name);
  return withProgress(
    `Checking the path in ${found.target.name} and reading the rules of ${node}`,
    gatherNodeFindings(found, endpoints, options),
  );
}

async function findNode({ text, node }: SourceEndpoint, options: TargetOptions): Promise<NodePlan> {
  if (node === undefined) {
    throw new PermanentError('no-node', `Cannot tell which node pod ${text} runs on`, {
      advice: 'Pass --node NODE (shown by `kubectl get pod -o wide`), or the pod as NAMESPACE/POD.',
    });
  }
  const { nodes, errors } = await dryRunFor({ ...options, node });
  const [found] = nodes;
  if (found) return found;
  throw errors[0]?.error ?? new Error('A dry run of one node has neither a node nor an error');
}

async function gatherNodeFindings(
  found: NodePlan,
  { from, to }: Endpoints,
  options: FindingsOptions,
): Promise<Findings> {
  const { target, node, outcome } = found;
  const deadline = deadlineOf(options);
  const [networkContext, rules] = await Promise.all([
    readNetworkContext(found, deadline),
    explainOnNode(found, { from, to }, options),
  ]);
  const source = expectedSource(node, from.pod, { networkContext, rules });
  const { address: destination, port } = effectiveDestination(rules, to);
  const reach = await target.reach.checks({ node, source, destination, port }, deadline);
  return {
    node,
    outcome,
    networkContext,
    requested: to,
    destination,
    clusterRanges: clusterRangesOf(found, networkContext),
    rules,
    reach,
    ...definedOnly({ pod: from.pod }),
  };
}

async function readNetworkContext({ target, node }: NodePlan, deadline: Deadline): Promise<NetworkContext> {
  const contexts = await target.cloud.routes.getNetworkContexts([node], routeSourceKinds, deadline);
  const networkContext = contexts.get(nodeKey(node.ref));
  if (networkContext) return networkContext;
  throw new RetryableError('no-network', `Cannot read the network of ${node.name}`, {
    advice: 'Check that the node still exists: npx peermasq status --all',
    retryAfterSeconds: 10,
  });
}

/** Returns an error instead of throwing it: the other checks do not need the rules. */
async function explainOnNode(
  { target, node }: NodePlan,
  { from, to }: Endpoints,
  options: FindingsOptions,
): Promise<Explanation | PeermasqError> {
  try {
    const source = { source: from.pod ?? nodeAddress(node), isFromNode: from.pod === undefined };
    const dump = await runWithCleanup((signal) =>
      target.inspection.takeSnapshot(node, deadlineOf(options), signal),
    );
    return explain(parseSnapshot(dump), packetOf(source, to, options));
  } catch (error) {
    if (error instanceof PeermasqError) return error;
    throw error;
  }
}

function nodeAddress({ name, address }: Node): Address {
  if (address !== undefined) return address;
  throw new PermanentError('no-address', `${name} has no private address`, { advice: 'Use a running node.' });
}

/**
 * The source address that the peer should see: the node's, unless pods are routed. If the rules use another one,
 * that is a finding about masquerading, not about the return route.
 */
function expectedSource(
  node: Node,
  pod: Address | undefined,
  { networkContext, rules }: Pick<Findings, 'networkContext' | 'rules'>,
): Address {
  if (!pod || !isPodRouted(pod, networkContext)) return nodeAddress(node);
  const source = rules instanceof Error ? null : rules.source;
  return source === null ? pod : parseAddress(source);
}

/** The destination after DNAT on the node, if that is a single known one. */
function effectiveDestination(
  rules: Findings['rules'],
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
