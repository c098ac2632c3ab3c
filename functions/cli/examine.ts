import type { Cidr } from '../../shared/core/cidr';
import { parseAddress } from '../../shared/core/cidr';
import { clusterConfig } from '../../shared/core/config';
import { isPodRouted, type Findings } from '../../shared/core/doctor';
import { PeermasqError, PermanentError, RetryableError } from '../../shared/core/errors';
import { explain } from '../../shared/core/explain/explain';
import type { Explanation } from '../../shared/core/explain/packet';
import { parseSnapshot } from '../../shared/core/explain/snapshot';
import { nodeKey, routeSourceKinds, type Node, type Surroundings } from '../../shared/core/node';
import type { Deadline } from '../../shared/core/ports';
import { visible } from '../../shared/core/shell';
import { packetOf, type From, type PacketOptions, type To } from './connection';
import { waitingFor } from './progress';
import { interruptible } from './interruptible';
import { survey, type Surveyed } from './survey';
import { deadlineOf, openTargets, selectionOf, type TargetOptions } from './targets';

/** For the help of commands that look at a node. */
export const howNodesAreAsked = `
To show its rules a node is sent an SSM command that changes nothing; on Google Cloud the key peermasq-snapshot is written
to its metadata, and taken away again.`;

export type ExamineOptions = TargetOptions & PacketOptions;

/** Everything there is to find out about a connection, from the node and from its cloud. */
export async function examine(from: From, to: To, options: ExamineOptions): Promise<Findings> {
  const found = await findNode(from, options);
  const what = `Asking ${found.target.name} about the way, and ${visible(found.node.name)} to show its rules`;
  return waitingFor(what, examineFrom(found, from, to, options));
}

async function examineFrom(found: Surveyed, from: From, to: To, options: ExamineOptions): Promise<Findings> {
  const { target, node, outcome } = found;
  const deadline = deadlineOf(options);
  const [around, rules] = await Promise.all([
    surroundings(found, deadline),
    rulesFor(found, from, to, options),
  ]);
  const pod = from.pod;
  const source = sourceOf(node, pod, around, rules);
  const { address: destination, port } = sentTo(rules, to);
  const reach = await target.reach.checks({ node, source, destination, port }, deadline);
  const clusterRanges = rangesOfCluster(found, around);
  return { node, outcome, around, asked: to, destination, clusterRanges, rules, reach, ...(pod && { pod }) };
}

/** Where the node's rules send it, as far as that is one place; else where it was to go. */
function sentTo(rules: Explanation | PeermasqError, { address, port }: To): Pick<To, 'address' | 'port'> {
  const [only, ...others] = rules instanceof Error ? [] : rules.destinations;
  if (!only || others.length > 0 || only.address === null || only.port === null) return { address, port };
  return { address: parseAddress(only.address), port: only.port };
}

function rangesOfCluster(
  { target: { config }, cluster }: Surveyed,
  { podRanges }: Surroundings,
): Findings['clusterRanges'] {
  const { pods, services } = clusterConfig(config, cluster) ?? { pods: [], services: [] };
  return [
    ...[...pods, ...podRanges].map((cidr) => ({ cidr, of: 'pods' }) as const),
    ...services.map((cidr) => ({ cidr, of: 'services' }) as const),
  ];
}

async function findNode(from: From, options: TargetOptions): Promise<Surveyed> {
  if (from.node === undefined) {
    throw new PermanentError(
      'no-node',
      `Which node pod ${from.text} is on is not known`,
      'Say --node NODE (kubectl get pod -o wide shows it), or give the pod as NAMESPACE/POD.',
    );
  }
  const targets = await openTargets(options);
  const [{ config }] = targets as [Surveyed['target']];
  const asked = { ...selectionOf(options, config), node: from.node, deadline: deadlineOf(options) };
  const { nodes, faults } = await survey(targets, asked);
  const [found] = nodes;
  if (found) return found;
  throw faults[0]?.error ?? new Error('A survey of a node tells of it, or why not');
}

async function surroundings({ target, node }: Surveyed, deadline: Deadline): Promise<Surroundings> {
  const around = await target.cloud.routes.around([node], routeSourceKinds, deadline);
  const own = around.get(nodeKey(node.ref));
  if (own) return own;
  throw new RetryableError(
    'no-network',
    `The network of ${node.name} cannot be seen`,
    'Look whether the node still exists: npx peermasq status --all',
    10,
  );
}

/** That the rules cannot be seen does not keep the other checks from being made. */
async function rulesFor(
  { target, node }: Surveyed,
  { pod }: From,
  to: To,
  options: ExamineOptions,
): Promise<Explanation | PeermasqError> {
  try {
    const source = pod ?? addressOf(node);
    const snapshot = parseSnapshot(
      await interruptible((signal) => target.inspection.look(node, deadlineOf(options), signal)),
    );
    return explain(snapshot, packetOf(source, pod === undefined, to, options));
  } catch (error) {
    if (error instanceof PeermasqError) return error;
    throw error;
  }
}

function addressOf({ name, address }: Node): Cidr {
  if (address !== undefined) return parseAddress(address);
  throw new PermanentError('no-address', `${name} has no private address`, 'Name a node that runs.');
}

/**
 * The address that the peer is to see: the node's, unless pods are routed. Where the rules do otherwise that is told
 * as masquerading, and not as a route back that is missing.
 */
function sourceOf(
  node: Node,
  pod: Cidr | undefined,
  around: Surroundings,
  rules: Explanation | PeermasqError,
): Cidr {
  if (!pod || !isPodRouted(pod, around)) return addressOf(node);
  const source = rules instanceof Error ? null : rules.source;
  return source === null ? pod : parseAddress(source);
}
