import type { Deadline } from '../../../shared/core/cloud';
import { makeDecider } from '../../../shared/core/masquerading/decide';
import { covers, firstAddress, parseCidr } from '../../../shared/core/model/cidr';
import { nodeConfig } from '../../../shared/core/model/config';
import { nodeKey, routeSourceKinds, type NetworkContext, type Route } from '../../../shared/core/model/node';
import type {
  Coverage,
  Diagram,
  DiagramConnection,
  DiagramNetwork,
  DiagramRemote,
} from '../../../shared/core/render/diagram';
import { groupBy, type NonEmpty } from '../../../shared/core/util/collections';
import { tryParse } from '../../../shared/core/util/functional';
import { isPlanned, isProven, type NodePlan } from '../dry-run';

type LocatedNode = NodePlan & { readonly networkContext: NetworkContext };

interface Cluster {
  readonly id: string;
  readonly nodes: NonEmpty<LocatedNode>;
}

interface CoveredRemote {
  readonly cluster: string;
  readonly remote: Omit<DiagramRemote, 'id'>;
  readonly coverage: Coverage;
}

/** Builds a diagram of the networks that the nodes are in. */
export async function diagramOf(nodes: readonly NodePlan[], deadline: Deadline): Promise<Diagram> {
  const located = await locateNodes(nodes, deadline);
  const clusters = [...groupBy(located, clusterKey).values()].map((group, index): Cluster => ({
    id: `cluster${index}`,
    nodes: group,
  }));
  const networks = [...groupBy(clusters, (cluster) => networkKey(cluster.nodes[0])).values()];
  const connections = clusters.flatMap(connectionsOf);
  const remotes = mergeRemotes(connections);
  const idByKey = new Map(remotes.map((remote) => [remoteKey(remote), remote.id]));
  return {
    networks: networks.map(toNetwork),
    remotes,
    connections: connections.map(({ cluster, remote, coverage }): DiagramConnection => ({
      cluster,
      remote: idByKey.get(remoteKey(remote)) ?? '',
      coverage,
    })),
  };
}

async function locateNodes(nodes: readonly NodePlan[], deadline: Deadline): Promise<LocatedNode[]> {
  const byTarget = groupBy(nodes, ({ target }) => target.name);
  const lookups = [...byTarget.values()].map(async (group) => {
    const contexts = await group[0].target.cloud.routes.getNetworkContexts(
      group.map(({ node }) => node),
      routeSourceKinds,
      deadline,
    );
    return group.flatMap((one) => {
      const networkContext = contexts.get(nodeKey(one.node.ref));
      return networkContext ? [{ ...one, networkContext }] : [];
    });
  });
  return (await Promise.all(lookups)).flat();
}

const networkKey = ({ target, networkContext }: LocatedNode): string =>
  `${target.name} ${networkContext.network}`;
const clusterKey = (one: LocatedNode): string => `${networkKey(one)} ${one.cluster}`;

function toNetwork(clusters: NonEmpty<Cluster>): DiagramNetwork {
  const { networkContext, target } = clusters[0].nodes[0];
  return {
    name: `${networkContext.network} (${target.name})`,
    ranges: networkContext.networkRanges.map(({ text }) => text),
    clusters: clusters.map(({ id, nodes }) => {
      return { id, name: nodes[0].cluster, nodes: nodes.length, proven: nodes.filter(isProven).length };
    }),
  };
}

/** Identifies a box. A peer's own subnets and the ranges that the peer passes on are shown as separate boxes. */
const remoteKey = ({ kind, via }: Pick<DiagramRemote, 'kind' | 'via'>): string => `${kind} ${via}`;

/** Merges equal remotes. Clusters that reach the same remote network then share one box. */
function mergeRemotes(connections: readonly CoveredRemote[]): DiagramRemote[] {
  const byKey = groupBy(connections, ({ remote }) => remoteKey(remote));
  return [...byKey.values()].map((group, index) => {
    const { via, kind } = group[0].remote;
    const ranges = [...new Set(group.flatMap(({ remote }) => remote.ranges))];
    return { id: `remote${index}`, via, kind, ranges };
  });
}

const connectionsOf = (cluster: Cluster): CoveredRemote[] => [
  ...discoveredRemotes(cluster),
  ...configuredRemotes(cluster),
];

function discoveredRemotes({ id, nodes }: Cluster): CoveredRemote[] {
  const routes = new Map(
    nodes
      .flatMap(({ networkContext }) => networkContext.routes)
      .map((route) => [JSON.stringify(route), route]),
  );
  return [...groupBy([...routes.values()], remoteKey).values()].map((group) => {
    const { via, kind } = group[0];
    const ranges = group.map(({ destination }) => destination);
    return { cluster: id, remote: { via, kind, ranges }, coverage: coverageOf(group, nodes) };
  });
}

/** Returns the ranges that are listed in the config. */
function configuredRemotes({ id, nodes }: Cluster): CoveredRemote[] {
  const requests = nodes.filter(isPlanned).flatMap(({ outcome }) => outcome.plan.provenance);
  const configured = requests.flatMap(({ from }) => from).filter((request) => request.from === 'config');
  const coverage = nodes.every(isProven) ? 'proven' : 'planned';
  return [...groupBy(configured, ({ name }) => name)].map(([via, group]) => {
    const ranges = [...new Set(group.map(({ cidr }) => cidr.text))];
    return { cluster: id, remote: { via, kind: 'config', ranges }, coverage };
  });
}

function coverageOf(routes: readonly Route[], nodes: readonly LocatedNode[]): Coverage {
  const ranges = routes
    .filter(({ state }) => state === 'active')
    // Skips a range that cannot be parsed; the plan warns about it.
    .flatMap(({ destination }) => tryParse(() => parseCidr(destination)) ?? []);
  if (ranges.length === 0) return 'blackhole';
  const isCovered = ({ outcome }: LocatedNode) =>
    outcome.kind === 'planned' &&
    ranges.every((range) => outcome.plan.ruleSet.destinations.some(({ cidr }) => covers(cidr, range)));
  if (nodes.every(isCovered)) return nodes.every(isProven) ? 'proven' : 'planned';
  const isNotNeeded = ({ target, node, networkContext }: LocatedNode) => {
    const decide = makeDecider({ cluster: nodeConfig(target.config, node), networkContext });
    return ranges.every((range) => decide('any-pod', firstAddress(range)).verdict === 'not-needed');
  };
  return nodes.every(isNotNeeded) ? 'not-needed' : 'not-masqueraded';
}
