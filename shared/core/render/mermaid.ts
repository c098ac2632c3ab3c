import {
  clusterLines,
  coverageLabels,
  networkLines,
  remoteLines,
  type Coverage,
  type Diagram,
} from './diagram';

/** Dotted arrows mean that rules are not in force. Thick arrows mean that rules are proven. */
const arrows: Readonly<Record<Coverage, string>> = {
  proven: '==>',
  planned: '-.->',
  'not-needed': '-->',
  'not-masqueraded': '-.-x',
  blackhole: '-.-x',
};

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

/** Escapes text with Mermaid's entities. An unescaped name could end the quoted label. */
const escapeLabel = (text: string): string =>
  text.replaceAll(/[#"<>&;\\`\n\r]/g, (character) => `#${character.charCodeAt(0)};`);
