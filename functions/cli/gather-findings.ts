import type { Deadline } from '../../shared/core/cloud';
import type { Check } from '../../shared/core/doctor/check';
import type { Findings } from '../../shared/core/doctor/findings';
import { sourcePortsIn } from '../../shared/core/doctor/source-ports';
import { explain, type ExplainOptions } from '../../shared/core/explain/explain';
import { parseSnapshot } from '../../shared/core/explain/parse/snapshot';
import { decide } from '../../shared/core/masquerading/decide';
import { decideByReturnRoute, type Decision } from '../../shared/core/masquerading/decision';
import { parseAddress, type Address } from '../../shared/core/model/cidr';
import { nodeConfig } from '../../shared/core/model/config';
import { PeermasqError, PermanentError, RetryableError } from '../../shared/core/model/errors';
import { nodeKey, routeSourceKinds, type NetworkContext, type Node } from '../../shared/core/model/node';
import { definedOnly } from '../../shared/core/util/collections';
import { memoize } from '../../shared/core/util/functional';
import { escapeControls } from '../../shared/core/util/shell';
import { packetOf, type DestinationEndpoint, type PacketOptions, type SourceEndpoint } from './connection';
import { deadlineOf, dryRunFor, type NodePlan } from './dry-run';
import { runWithCleanup } from './exit';
import { withProgress } from './output';
import type { TargetOptions } from './targets';

/** Added to the help of the commands that read the rules of a node. */
export const snapshotHelp = `
To read the rules of a node, AWS nodes get an SSM command that changes nothing. On Google Cloud the metadata key
peermasq-snapshot is set on the instance and removed afterwards.`;

export type FindingsOptions = TargetOptions & PacketOptions & ExplainOptions;

interface Endpoints {
  readonly from: SourceEndpoint;
  readonly to: DestinationEndpoint;
}

/** Gathers what the node and its cloud report about a connection. */
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
    throw new PermanentError('no-node', `Cannot determine the node of pod ${text}`, {
      advice: 'Pass --node NODE (shown by `kubectl get pod -o wide`), or the pod as NAMESPACE/POD.',
    });
  }
  const { nodes, errors } = await dryRunFor({ ...options, node });
  const [found] = nodes;
  if (found) return found;
  throw errors[0]?.error ?? new Error('The dry run of one node returned neither a node nor an error');
}

async function gatherNodeFindings(
  found: NodePlan,
  { from, to }: Endpoints,
  options: FindingsOptions,
): Promise<Findings> {
  const { target, node, outcome } = found;
  const deadline = deadlineOf(options);
  // A pod in the host's network uses the node's address.
  const pod = from.pod?.text === node.address?.text ? undefined : from.pod;
  const [networkContext, { rules, ports }] = await Promise.all([
    readNetworkContext(found, deadline),
    explainOnNode(found, { to, ...definedOnly({ pod }) }, options),
  ]);
  const { address: destination, port } = effectiveDestination(rules, to);
  const cluster = nodeConfig(target.config, node);
  const checksFrom: ChecksFrom = memoize(
    (source) => target.reach.checks({ node, source, destination, port }, deadline),
    ({ text }) => text,
  );
  const byConfig = decide({ source: pod ?? 'node', destination, cluster, networkContext });
  const connection = { node, rules, ...definedOnly({ pod }) };
  const decision = await checkReturnRoutes(byConfig, connection, checksFrom);
  const reach = await checksFrom(expectedSource({ ...connection, decision }));
  return { ...connection, outcome, networkContext, requested: to, destination, decision, ports, reach };
}

/** Runs the cloud's checks of the path for packets from a source address. */
type ChecksFrom = (source: Address) => Promise<readonly Check[]>;

/** Decides with the peer's route tables if the config and the known routes are not enough for a decision. */
async function checkReturnRoutes(
  decision: Decision,
  { node, pod }: Pick<Findings, 'node' | 'pod'>,
  checksFrom: ChecksFrom,
): Promise<Decision> {
  if (decision.verdict !== 'unknown' || !pod) return decision;
  const [fromPod, fromNode] = await Promise.all([checksFrom(pod), checksFrom(nodeAddress(node))]);
  const isReturnRoute = ({ name }: Check) => name === 'return-route';
  const podRoute = fromPod.find(isReturnRoute);
  const nodeRoute = fromNode.find(isReturnRoute);
  return podRoute && nodeRoute ? decideByReturnRoute(decision, { pod: podRoute, node: nodeRoute }) : decision;
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

type NodeFindings = Required<Pick<Findings, 'rules' | 'ports'>>;

/**
 * Explains the packet with the node's rules. An error is returned instead of thrown, because the other checks do not
 * need the rules.
 */
async function explainOnNode(
  { target, node }: NodePlan,
  { pod, to }: Pick<Findings, 'pod'> & Pick<Endpoints, 'to'>,
  options: FindingsOptions,
): Promise<NodeFindings> {
  try {
    const source = { source: pod ?? nodeAddress(node), isFromNode: pod === undefined };
    const dump = await runWithCleanup((signal) =>
      target.inspection.takeSnapshot(node, deadlineOf(options), signal),
    );
    const packet = packetOf(source, to, options);
    const rules = explain(parseSnapshot(dump), packet, definedOnly({ want: options.want }));
    return { rules, ports: sourcePortsIn(dump) };
  } catch (error) {
    if (error instanceof PeermasqError) return { rules: error, ports: [] };
    throw error;
  }
}

function nodeAddress({ name, address }: Node): Address {
  if (address !== undefined) return address;
  throw new PermanentError('no-address', `${name} has no private address`, { advice: 'Use a running node.' });
}

/**
 * Returns the source address that the peer should see: the node's address if masquerading is needed. If the rules
 * produce a different source address, doctor reports that in the masquerading check, not in the return-route check.
 */
function expectedSource({
  node,
  pod,
  decision,
  rules,
}: Pick<Findings, 'node' | 'pod' | 'decision' | 'rules'>): Address {
  if (!pod || decision.verdict === 'needed') return nodeAddress(node);
  const source = rules instanceof Error ? null : rules.source;
  return source === null ? pod : parseAddress(source);
}

/** Returns the destination after DNAT on the node, if exactly one destination is possible. */
function effectiveDestination(
  rules: Findings['rules'],
  { address, port }: DestinationEndpoint,
): Pick<DestinationEndpoint, 'address' | 'port'> {
  const [only, ...others] = rules instanceof Error ? [] : rules.destinations;
  if (!only || others.length > 0 || only.address === null || only.port === null) return { address, port };
  return { address: parseAddress(only.address), port: only.port };
}
