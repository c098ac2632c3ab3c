import type { RouteSourceKind } from '../model/node';

/** Networks with their clusters, and how traffic from the clusters reaches the ranges behind each route. */
export interface Diagram {
  readonly networks: readonly DiagramNetwork[];
  readonly remotes: readonly DiagramRemote[];
  readonly connections: readonly DiagramConnection[];
}

export interface DiagramNetwork {
  readonly name: string;
  readonly ranges: readonly string[];
  readonly clusters: readonly {
    readonly id: string;
    readonly name: string;
    readonly nodes: number;
    readonly proven: number;
  }[];
}

/** The ranges behind one peering or gateway, or the ranges with one name in the config. */
export interface DiagramRemote {
  readonly id: string;
  readonly via: string;
  readonly kind: RouteSourceKind | 'config';
  readonly ranges: readonly string[];
}

export interface DiagramConnection {
  readonly cluster: string;
  readonly remote: string;
  readonly coverage: Coverage;
}

export type Coverage = 'proven' | 'planned' | 'not-needed' | 'not-masqueraded' | 'blackhole';

export const coverageLabels: Readonly<Record<Coverage, string>> = {
  proven: 'masqueraded, proven',
  planned: 'planned, not proven',
  'not-needed': 'not needed: pods are routed',
  'not-masqueraded': 'not masqueraded',
  blackhole: 'blackhole',
};

export const networkLines = ({ name, ranges }: DiagramNetwork): string[] => [name, ...truncateRanges(ranges)];
export const clusterLines = ({ name, nodes, proven }: DiagramNetwork['clusters'][number]): string[] => [
  name,
  `${nodes} ${nodes === 1 ? 'node' : 'nodes'}, ${proven} proven`,
];
export const remoteLines = ({ via, kind, ranges }: DiagramRemote): string[] => [
  `${via} (${kind})`,
  ...truncateRanges(ranges),
];

const shownRanges = 6;
const truncateRanges = (ranges: readonly string[]): string[] =>
  ranges.length <= shownRanges
    ? [...ranges]
    : [...ranges.slice(0, shownRanges), `and ${ranges.length - shownRanges} more`];
