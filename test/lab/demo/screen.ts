import type pc from 'picocolors';
import type { RequestResult } from '../networks';
import type { Topology } from '../topologies';
import type { Write } from './ordered-output';

export type Colours = ReturnType<typeof pc.createColors>;

/** Prints a label and its value in two columns. */
export interface Screen {
  readonly colours: Colours;
  readonly heading: (title: string, story: string) => void;
  readonly print: (label: string, text: string) => void;
  readonly good: (label: string, text: string) => void;
  readonly bad: (label: string, text: string) => void;
  /** Prints text that is already coloured and must not be wrapped. */
  readonly draw: (label: string, text: string) => void;
}

const labelWidth = 11;
const widest = 100;

export function openScreen(write: Write, colours: Colours, columns = 0): Screen {
  // A terminal may report a width of 0.
  const width = Math.min(columns || widest, widest);
  const row = (label: string, text: string, colour: (line: string) => string) => {
    const [first = '', ...rest] = text.split('\n').flatMap((line) => wrap(line, width - labelWidth - 2));
    write(`  ${colours.dim(label.padEnd(labelWidth))}${colour(first)}\n`);
    for (const line of rest) write(`  ${' '.repeat(labelWidth)}${colour(line)}\n`);
  };
  return {
    colours,
    heading: (title, story) => {
      write(`\n${colours.bold(title)}\n`);
      for (const line of wrap(story, width - 2)) write(`  ${line}\n`);
      write('\n');
    },
    print: (label, text) => {
      row(label, text, String);
    },
    good: (label, text) => {
      row(label, text, colours.green);
    },
    bad: (label, text) => {
      row(label, text, colours.red);
    },
    draw: (label, text) => {
      write(`  ${colours.dim(label.padEnd(labelWidth))}${text}\n`);
    },
  };
}

function wrap(text: string, width: number): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const last = lines[lines.length - 1] ?? '';
    if (last === '') lines[lines.length - 1] = word;
    else if (last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Draws the path of a packet from the pod to the peer. The arrows show the packet's source address. */
export function diagram(topology: Topology, result: RequestResult, colours: Colours): string {
  const { node, peer, links } = topology;
  const [link] = links;
  const source = result.sourceSeenByPeer ?? node.pods.pod;
  const colour = result.reached ? colours.green : colours.red;
  const width = Math.max(node.pods.pod.length, node.address.length);
  const arrow = (text: string, paint: (text: string) => string) =>
    `──${paint(` ${text} `)}${'─'.repeat(width - text.length)}──▶`;
  const toRouter = ['pod', arrow(node.pods.pod, String), 'node', arrow(source, colour), node.network];
  const hops = [link?.kind === 'vpn' ? '══ VPN ══▶' : '──▶', peer.network, '──▶', peer.name];
  return result.reached
    ? [...toRouter, ...hops, colour('✓')].join(' ')
    : [...toRouter, colour('✗ dropped')].join(' ');
}
