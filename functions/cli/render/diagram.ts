import { contains, parseCidr, type Cidr } from '../../../shared/core/cidr';
import { groupBy } from '../../../shared/core/group';
import { nodeKey, routeSourceKinds, type Route, type Surroundings } from '../../../shared/core/node';
import type { Deadline } from '../../../shared/core/ports';
import type { Coverage, Diagram, DiagramNetwork, Remote, Way } from '../../../shared/core/render/diagram';
import type { Surveyed } from '../survey';

type Placed = Surveyed & { readonly around: Surroundings };

/** Networks, peerings, clusters and coverage, of the nodes that were surveyed. */
export async function diagramOf(nodes: readonly Surveyed[], deadline: Deadline): Promise<Diagram> {
  const placed = await place(nodes, deadline);
  const clusters = [...groupBy(placed, clusterKey).values()].map((some, index) => ({
    id: `cluster${index}`,
    some,
  }));
  const networks = [...groupBy(clusters, ({ some }) => networkKey((some as [Placed])[0])).values()];
  const ways = clusters.flatMap(({ id, some }) => waysOf(id, some));
  const remotes = [...groupBy(ways, ({ remote }) => remote.via).values()].map((same, index): Remote => {
    const [{ remote }] = same as [(typeof ways)[number]];
    const ranges = [...new Set(same.flatMap(({ remote }) => remote.ranges))];
    return { id: `remote${index}`, via: remote.via, kind: remote.kind, ranges };
  });
  const idOf = new Map(remotes.map(({ via, id }) => [via, id]));
  return {
    networks: networks.map(networkOf),
    remotes,
    ways: ways.map(({ cluster, remote, coverage }): Way => {
      return { cluster, remote: idOf.get(remote.via) ?? '', coverage };
    }),
  };
}

async function place(nodes: readonly Surveyed[], deadline: Deadline): Promise<Placed[]> {
  const looks = [...groupBy(nodes, ({ target }) => target.name).values()].map(async (some) => {
    const [{ target }] = some as [Surveyed];
    const all = some.map(({ node }) => node);
    const around = await target.cloud.routes.around(all, routeSourceKinds, deadline);
    return some.flatMap((one) => {
      const own = around.get(nodeKey(one.node.ref));
      return own ? [{ ...one, around: own }] : [];
    });
  });
  return (await Promise.all(looks)).flat();
}

const networkKey = ({ target, around }: Placed): string => `${target.name} ${around.network}`;
const clusterKey = (one: Placed): string => `${networkKey(one)} ${one.cluster}`;

const isProven = ({ outcome }: Surveyed): boolean => outcome.kind === 'planned' && !outcome.isChange;

function networkOf(
  clusters: readonly { readonly id: string; readonly some: readonly Placed[] }[],
): DiagramNetwork {
  const [{ around, target }] = clusters.flatMap(({ some }) => some) as [Placed];
  return {
    name: `${around.network} (${target.name})`,
    ranges: around.networkRanges.map(({ text }) => text),
    clusters: clusters.map(({ id, some }) => {
      const name = some[0]?.cluster ?? '';
      return { id, name, nodes: some.length, proven: some.filter(isProven).length };
    }),
  };
}

interface Found {
  readonly cluster: string;
  readonly remote: Omit<Remote, 'id'>;
  readonly coverage: Coverage;
}

/** What routes lead to, and what only the config names. */
function waysOf(cluster: string, some: readonly Placed[]): Found[] {
  const routes = new Map(
    some.flatMap(({ around }) => around.routes).map((route) => [JSON.stringify(route), route]),
  );
  const discovered = [...groupBy([...routes.values()], ({ via }) => via).values()].map((same): Found => {
    const [{ via, kind }] = same as [Route];
    const ranges = same.map(({ destination }) => destination);
    return { cluster, remote: { via, kind, ranges }, coverage: coverageOf(same, some) };
  });
  const wishes = some.flatMap(({ outcome }) => (outcome.kind === 'planned' ? outcome.plan.provenance : []));
  const configured = wishes.flatMap(({ from }) => from).filter((wish) => wish.from === 'config');
  const byName = groupBy(configured, ({ name }) => name);
  return [
    ...discovered,
    ...[...byName].map(([via, same]): Found => {
      const ranges = [...new Set(same.map(({ cidr }) => cidr.text))];
      const coverage = some.every(isProven) ? 'proven' : 'planned';
      return { cluster, remote: { via, kind: 'config', ranges }, coverage };
    }),
  ];
}

function coverageOf(routes: readonly Route[], some: readonly Placed[]): Coverage {
  const ranges = routes
    .filter(({ state }) => state === 'active')
    .flatMap(({ destination }) => readable(destination));
  if (ranges.length === 0) return 'leads-nowhere';
  const isCovered = ({ outcome }: Placed) =>
    outcome.kind === 'planned' &&
    ranges.every((range) => outcome.plan.ruleSet.destinations.some(({ cidr }) => contains(cidr, range)));
  if (some.every(isCovered)) return some.every(isProven) ? 'proven' : 'planned';
  const isRouted = ({ around, outcome }: Placed) =>
    around.arePodsRouted && (outcome.kind !== 'skipped' || outcome.skip.reason === 'pods-routed');
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
