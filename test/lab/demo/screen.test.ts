import { describe, expect, test } from '@jest/globals';
import { stripVTControlCharacters } from 'node:util';
import pc from 'picocolors';
import { awsGcpVpn, gcpPeering } from '../topologies';
import { diagram, openScreen } from './screen';

const plain = pc.createColors(false);

describe("a diagram labels its arrows with the packet's source address:", () => {
  test.each([
    {
      topology: gcpPeering,
      result: { reached: false },
      expected: 'pod ── 10.132.0.10 ──▶ node ── 10.132.0.10 ──▶ vpc-b ✗ dropped',
    },
    {
      topology: gcpPeering,
      result: { reached: true, sourceSeenByPeer: '10.209.0.2' },
      expected: 'pod ── 10.132.0.10 ──▶ node ── 10.209.0.2 ───▶ vpc-b ──▶ vpc-a ──▶ backend ✓',
    },
    {
      topology: awsGcpVpn,
      result: { reached: true, sourceSeenByPeer: '172.20.0.9' },
      expected: 'pod ── 10.244.0.10 ──▶ node ── 172.20.0.9 ───▶ cluster-vpc ══ VPN ══▶ vpc-a ──▶ backend ✓',
    },
  ])('$topology.name, reached: $answer.reached', ({ topology, result, expected }) => {
    expect(diagram(topology, result, plain)).toBe(expected);
  });
});

describe('the screen of the demo', () => {
  const shown = (colours: ReturnType<typeof pc.createColors>, columns: number) => {
    const written: string[] = [];
    const screen = openScreen((text) => written.push(text), colours, columns);
    screen.heading('1/3  Title', 'A story.');
    screen.print('rules', '-A POSTROUTING -d 10.193.0.0/16\n-j MASQUERADE');
    screen.bad('', 'hangs');
    return written.join('');
  };

  test('prints two columns and wraps the second column', () => {
    expect(shown(plain, 36)).toBe(
      [
        ...['', '1/3  Title', '  A story.', ''],
        ...['  rules      -A POSTROUTING -d', '             10.193.0.0/16', '             -j MASQUERADE'],
        ...['             hangs', ''],
      ].join('\n'),
    );
  });

  test('prints the same text with and without colour', () => {
    const coloured = shown(pc.createColors(true), 36);
    expect(coloured).toContain(pc.createColors(true).red('hangs'));
    expect(stripVTControlCharacters(coloured)).toBe(shown(plain, 36));
  });
});
