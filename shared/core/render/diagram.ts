import type { RouteSourceKind } from '../model/node';

/** Networks, what they route to, their clusters, and how far those masquerade to it. */
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

/** Ranges behind one peering, gateway or line of the config. */
export interface DiagramRemote {
  readonly id: string;
  readonly via: string;
  readonly kind: RouteSourceKind | 'config';
  readonly ranges: readonly string[];
}

/** From a cluster to what lies behind a peering. */
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
  blackhole: 'leads nowhere',
};

/** What each box says, line by line. */
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
