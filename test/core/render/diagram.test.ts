import { expect, test } from '@jest/globals';
import type { Diagram } from '../../../shared/core/render/diagram';
import { renderMermaid } from '../../../shared/core/render/mermaid';
import { renderSvg } from '../../../shared/core/render/svg';

const diagram: Diagram = {
  networks: [
    {
      name: 'vpc-b',
      ranges: ['10.209.0.0/16'],
      clusters: [{ id: 'cluster0', name: 'frontend "x" <b>', nodes: 3, proven: 2 }],
    },
  ],
  remotes: [
    { id: 'remote0', via: 'to-backend', kind: 'peerings', ranges: ['10.193.0.0/16'] },
    { id: 'remote1', via: 'tunnel', kind: 'vpn', ranges: ['1', '2', '3', '4', '5', '6', '7'] },
  ],
  connections: [
    { cluster: 'cluster0', remote: 'remote0', coverage: 'proven' },
    { cluster: 'cluster0', remote: 'remote1', coverage: 'not-masqueraded' },
  ],
};

test('a Mermaid diagram escapes quotes in names', () => {
  expect(renderMermaid(diagram)).toBe(`flowchart LR
  subgraph network0["vpc-b<br/>10.209.0.0/16"]
    cluster0["frontend #34;x#34; #60;b#62;<br/>3 nodes, 2 proven"]
  end
  remote0["to-backend (peerings)<br/>10.193.0.0/16"]
  remote1["tunnel (vpn)<br/>1<br/>2<br/>3<br/>4<br/>5<br/>6<br/>and 1 more"]
  cluster0 ==>|"masqueraded, proven"| remote0
  cluster0 -.-x|"not masqueraded"| remote1
`);
});

test('an SVG diagram escapes names, and all its boxes are inside the view', () => {
  const text = renderSvg(diagram);
  expect(text).toContain('frontend &quot;x&quot; &lt;b&gt;');
  const [width = 0, height = 0] = numbers(/<svg[^>]* width="(\d+)" height="(\d+)"/.exec(text));
  const rects = [...text.matchAll(/<rect x="([-\d.]+)" y="([-\d.]+)" width="([\d.]+)" height="([\d.]+)"/g)];
  expect(rects).toHaveLength(4);
  expect(text.match(/<polyline /g)).toHaveLength(2);
  for (const rect of rects) {
    const [x = -1, y = -1, w = 0, h = 0] = numbers(rect);
    expect(Math.min(x, y)).toBeGreaterThanOrEqual(0);
    expect(x + w).toBeLessThanOrEqual(width);
    expect(y + h).toBeLessThanOrEqual(height);
  }
});

const numbers = (match: RegExpExecArray | null): (number | undefined)[] =>
  [...(match ?? [])].slice(1).map(Number);
