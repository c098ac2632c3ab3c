import dagre from '@dagrejs/dagre';
import XMLBuilder from 'fast-xml-builder';
import { definedOnly } from '../util/collections';
import {
  clusterLines,
  coverageLabels,
  networkLines,
  remoteLines,
  type Coverage,
  type Diagram,
} from './diagram';

/** All sizes are in pixels. */
const lineHeight = 20;
const padding = 12;
/** The width of a character in a monospaced font at 14 px. */
const characterWidth = 8.4;

const colours: Readonly<Record<Coverage, string>> = {
  proven: '#1a7f37',
  planned: '#9a6700',
  'not-needed': '#57606a',
  'not-masqueraded': '#cf222e',
  blackhole: '#cf222e',
};

interface Box {
  readonly lines: readonly string[];
  readonly fill: string;
  readonly isNetwork?: boolean;
}

export function renderSvg(diagram: Diagram): string {
  const graph = layoutGraph(diagram);
  const { width = 0, height = 0 } = graph.graph() as { width?: number; height?: number };
  const builder = new XMLBuilder({ ignoreAttributes: false, attributeNamePrefix: '@', format: true });
  const boxes = graph.nodes().map((id) => boxElement(graph.node(id) as PlacedBox));
  const connections = graph.edges().map((edge) => connectionElement(graph.edge(edge) as PlacedConnection));
  return builder.build({
    svg: {
      '@xmlns': 'http://www.w3.org/2000/svg',
      '@width': Math.ceil(width),
      '@height': Math.ceil(height),
      '@viewBox': `0 0 ${Math.ceil(width)} ${Math.ceil(height)}`,
      '@font-family': 'monospace',
      '@font-size': 14,
      title: 'peermasq coverage',
      g: [...boxes, ...connections],
    },
  });
}

interface PlacedBox extends Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

interface PlacedConnection {
  readonly coverage: Coverage;
  readonly points: readonly { readonly x: number; readonly y: number }[];
  readonly x: number;
  readonly y: number;
}

const sizeOf = (lines: readonly string[]) => ({
  width: Math.max(...lines.map(({ length }) => length)) * characterWidth + 2 * padding,
  height: lines.length * lineHeight + 2 * padding,
});

function layoutGraph({ networks, remotes, connections }: Diagram) {
  const graph = new dagre.graphlib.Graph({ compound: true, multigraph: true });
  graph.setGraph({ rankdir: 'LR', marginx: 20, marginy: 60, ranksep: 260, nodesep: 60 });
  graph.setDefaultEdgeLabel(() => ({}));
  const add = (id: string, box: Box) => graph.setNode(id, { ...box, ...sizeOf(box.lines) });
  networks.forEach((network, index) => {
    add(`network${index}`, { lines: networkLines(network), fill: '#f6f8fa', isNetwork: true });
    for (const cluster of network.clusters) {
      add(cluster.id, { lines: clusterLines(cluster), fill: '#ddf4ff' });
      graph.setParent(cluster.id, `network${index}`);
    }
  });
  for (const remote of remotes) add(remote.id, { lines: remoteLines(remote), fill: '#fff8c5' });
  for (const { cluster, remote, coverage } of connections) {
    const label = sizeOf([coverageLabels[coverage]]);
    graph.setEdge(cluster, remote, { coverage, ...label, labelpos: 'c' });
  }
  dagre.layout(graph);
  return graph;
}

const round = (pixels: number): number => Math.round(pixels * 10) / 10;

function boxElement({ x, y, width, height, lines, fill, isNetwork }: PlacedBox) {
  const left = x - width / 2;
  const top = y - height / 2;
  // The name of a network appears above its box.
  const first = isNetwork ? top - 6 - (lines.length - 1) * lineHeight : top + padding + lineHeight - 5;
  return {
    rect: {
      '@x': round(left),
      '@y': round(top),
      '@width': round(width),
      '@height': round(height),
      '@rx': 6,
      '@fill': fill,
      '@stroke': '#57606a',
    },
    text: lines.map((line, index) => ({
      '@x': round(left + padding),
      '@y': round(first + index * lineHeight),
      '#text': line,
    })),
  };
}

const solid: ReadonlySet<Coverage> = new Set(['proven', 'not-needed']);

function connectionElement({ coverage, points, x, y }: PlacedConnection) {
  const stroke = colours[coverage];
  return {
    polyline: {
      '@points': points.map((point) => `${round(point.x)},${round(point.y)}`).join(' '),
      '@fill': 'none',
      '@stroke': stroke,
      '@stroke-width': 2,
      ...definedOnly({ '@stroke-dasharray': solid.has(coverage) ? undefined : '6 4' }),
    },
    text: {
      '@x': round(x),
      '@y': round(y - 6),
      '@text-anchor': 'middle',
      '@fill': stroke,
      '#text': coverageLabels[coverage],
    },
  };
}
