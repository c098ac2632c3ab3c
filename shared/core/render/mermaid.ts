import {
  clusterLines,
  coverageLabels,
  networkLines,
  remoteLines,
  type Coverage,
  type Diagram,
} from './diagram';

/** Dotted is what does not hold yet; thick is proven. */
const arrows: Readonly<Record<Coverage, string>> = {
  proven: '==>',
  planned: '-.->',
  'not-needed': '-->',
  'not-masqueraded': '-.-x',
  blackhole: '-.-x',
};

/** For documents that draw Mermaid, as GitHub does. */
export function renderMermaid({ networks, remotes, connections }: Diagram): string {
  const box = (id: string, lines: readonly string[]) => `${id}["${lines.map(escapeLabel).join('<br/>')}"]`;
  return [
    'flowchart LR',
    ...networks.flatMap((network, index) => [
      `  subgraph ${box(`network${index}`, networkLines(network))}`,
      ...network.clusters.map((cluster) => `    ${box(cluster.id, clusterLines(cluster))}`),
      '  end',
    ]),
    ...remotes.map((remote) => `  ${box(remote.id, remoteLines(remote))}`),
    ...connections.map(
      ({ cluster, remote, coverage }) =>
        `  ${cluster} ${arrows[coverage]}|"${coverageLabels[coverage]}"| ${remote}`,
    ),
    '',
  ].join('\n');
}

/** Mermaid's own entities; a name from a cloud must not end its quotes. */
const escapeLabel = (text: string): string =>
  text.replaceAll(/[#"<>&;\\`\n\r]/g, (character) => `#${character.charCodeAt(0)};`);
