import { contains, parseCidr, type Cidr } from '../../../shared/core/model/cidr';
import { groupBy } from '../../../shared/core/util/collections';
import { nodeKey, routeSourceKinds, type Route, type NetworkContext } from '../../../shared/core/model/node';
import type { Deadline } from '../../../shared/core/cloud';
import type {
  Coverage,
  Diagram,
  DiagramNetwork,
  DiagramRemote,
  DiagramConnection,
} from '../../../shared/core/render/diagram';
import type { NodePlan } from '../dry-run';

type LocatedNode = NodePlan & { readonly networkContext: NetworkContext };

/** Networks, peerings, clusters and coverage, of the nodes that were surveyed. */
export async function diagramOf(nodes: readonly NodePlan[], deadline: Deadline): Promise<Diagram> {
  const located = await locate(nodes, deadline);
  const clusters = [...groupBy(located, clusterKey).values()].map((some, index) => ({
    id: `cluster${index}`,
    some,
  }));
  const networks = [...groupBy(clusters, ({ some }) => networkKey((some as [LocatedNode])[0])).values()];
  const connections = clusters.flatMap(({ id, some }) => waysOf(id, some));
  const remotes = [...groupBy(connections, ({ remote }) => remote.via).values()].map(
    (same, index): DiagramRemote => {
      const [{ remote }] = same as [(typeof connections)[number]];
      const ranges = [...new Set(same.flatMap(({ remote }) => remote.ranges))];
      return { id: `remote${index}`, via: remote.via, kind: remote.kind, ranges };
    },
  );
  const idOf = new Map(remotes.map(({ via, id }) => [via, id]));
  return {
    networks: networks.map(networkOf),
    remotes,
    connections: connections.map(({ cluster, remote, coverage }): DiagramConnection => {
      return { cluster, remote: idOf.get(remote.via) ?? '', coverage };
    }),
  };
}

async function locate(nodes: readonly NodePlan[], deadline: Deadline): Promise<LocatedNode[]> {
  const lookups = [...groupBy(nodes, ({ target }) => target.name).values()].map(async (some) => {
    const [{ target }] = some as [NodePlan];
    const all = some.map(({ node }) => node);
    const networkContext = await target.cloud.routes.getNetworkContexts(all, routeSourceKinds, deadline);
    return some.flatMap((one) => {
      const own = networkContext.get(nodeKey(one.node.ref));
      return own ? [{ ...one, networkContext: own }] : [];
    });
  });
  return (await Promise.all(lookups)).flat();
}

const networkKey = ({ target, networkContext }: LocatedNode): string =>
  `${target.name} ${networkContext.network}`;
const clusterKey = (one: LocatedNode): string => `${networkKey(one)} ${one.cluster}`;

const isProven = ({ outcome }: NodePlan): boolean => outcome.kind === 'planned' && !outcome.isChange;

function networkOf(
  clusters: readonly { readonly id: string; readonly some: readonly LocatedNode[] }[],
): DiagramNetwork {
  const [{ networkContext, target }] = clusters.flatMap(({ some }) => some) as [LocatedNode];
  return {
    name: `${networkContext.network} (${target.name})`,
    ranges: networkContext.networkRanges.map(({ text }) => text),
    clusters: clusters.map(({ id, some }) => {
      const name = some[0]?.cluster ?? '';
      return { id, name, nodes: some.length, proven: some.filter(isProven).length };
    }),
  };
}

interface CoveredRemote {
  readonly cluster: string;
  readonly remote: Omit<DiagramRemote, 'id'>;
  readonly coverage: Coverage;
}

/** What routes lead to, and what only the config names. */
function waysOf(cluster: string, some: readonly LocatedNode[]): CoveredRemote[] {
  const routes = new Map(
    some
      .flatMap(({ networkContext }) => networkContext.routes)
      .map((route) => [JSON.stringify(route), route]),
  );
  const discovered = [...groupBy([...routes.values()], ({ via }) => via).values()].map(
    (same): CoveredRemote => {
      const [{ via, kind }] = same as [Route];
      const ranges = same.map(({ destination }) => destination);
      return { cluster, remote: { via, kind, ranges }, coverage: coverageOf(same, some) };
    },
  );
  const requests = some.flatMap(({ outcome }) => (outcome.kind === 'planned' ? outcome.plan.provenance : []));
  const configured = requests.flatMap(({ from }) => from).filter((request) => request.from === 'config');
  const byName = groupBy(configured, ({ name }) => name);
  return [
    ...discovered,
    ...[...byName].map(([via, same]): CoveredRemote => {
      const ranges = [...new Set(same.map(({ cidr }) => cidr.text))];
      const coverage = some.every(isProven) ? 'proven' : 'planned';
      return { cluster, remote: { via, kind: 'config', ranges }, coverage };
    }),
  ];
}

function coverageOf(routes: readonly Route[], some: readonly LocatedNode[]): Coverage {
  const ranges = routes
    .filter(({ state }) => state === 'active')
    .flatMap(({ destination }) => readable(destination));
  if (ranges.length === 0) return 'blackhole';
  const isCovered = ({ outcome }: LocatedNode) =>
    outcome.kind === 'planned' &&
    ranges.every((range) => outcome.plan.ruleSet.destinations.some(({ cidr }) => contains(cidr, range)));
  if (some.every(isCovered)) return some.every(isProven) ? 'proven' : 'planned';
  const isRouted = ({ networkContext, outcome }: LocatedNode) =>
    networkContext.arePodsRouted && (outcome.kind !== 'skipped' || outcome.skip.reason === 'pods-routed');
  return some.every(isRouted) ? 'not-needed' : 'not-masqueraded';
}

function readable(destination: string): Cidr[] {
  try {
    return [parseCidr(destination)];
  } catch {
    // The plan warns of it.
    return [];
  }
}
