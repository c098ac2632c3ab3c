import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { describeKernel } from '../lab/kernel';
import { loadFlows, loadsFlowFiles } from './flows';
import { type Network, openNetwork, ruleset } from './network';

type Flows = { from: string; to: string; port: number; via: string; protocol?: string; count: number };

/** Returns lines for `loadFlows`: this number of connections, each with its own source port. */
const conntrackLines = ({ from, to, port, via, protocol = 'tcp', count }: Flows) =>
  Array.from({ length: count }, (_, i) => {
    const source = String(1024 + i);
    const state = protocol === 'tcp' ? '--state ESTABLISHED' : '';
    return `-A -t 600 -u SEEN_REPLY -s ${from} -d ${to} -r ${to} -q ${via} -p ${protocol} --sport ${source} --dport ${String(port)} --reply-port-src ${String(port)} --reply-port-dst ${source} ${state}`;
  });

const masqueraded = { from: '10.132.0.10', to: '10.193.0.3', port: 5432, via: '10.209.0.2' };
const six = { from: 'fd00:132::10', to: 'fd00:193::3', port: 443, via: 'fd00:209::2' };
const range = 64_512;
const half = range / 2;
const warning = (to: string, used: number) =>
  `${to}: ${String(used)} of 64512 source ports in use: reuse connections, use more nodes or destination addresses, or add routes to the pods at the peer`;

const rules = ruleset(
  1,
  'source 10.132.0.0/14',
  'source fd00:132::/32',
  'exempt 10.193.7.0/24 except',
  'masquerade 10.193.0.0/16 backend-vpc',
  'masquerade fd00:193::/32 six',
);

describeKernel('source ports', undefined, () => {
  let network: Network;
  let withoutFile: Record<string, string> = {};
  beforeAll(async () => {
    network = await openNetwork('auto');
    await network.apply(rules);
    // Simulates a kernel without /proc/net/nf_conntrack. A mount over that file would be visible to only one process.
    const bin = join(network.node.folder, 'bin');
    mkdirSync(bin);
    const text = '#!/bin/sh\ncase "$*" in */nf_conntrack) exit 1 ;; esac\nexec /usr/bin/head "$@"\n';
    writeFileSync(join(bin, 'head'), text, { mode: 0o755 });
    withoutFile = { PATH: `${bin}:${process.env['PATH'] ?? ''}` };
  });
  afterEach(async () => {
    await network.node.exec(['conntrack', '-F']);
  });
  afterAll(() => network.lab.close());

  const load = async (...flows: Flows[]) => {
    await loadFlows(network.node, flows.flatMap(conntrackLines));
  };
  const status = async (env: Record<string, string> = {}) => network.peermasq(['status'], { env });

  test('in use are counted for each destination, with real packets', async () => {
    const send = ['perl', join(__dirname, 'send-from-ports.pl'), '10.193.0.3', '53', '46000'];
    await network.pod.run(send, { timeoutMs: 30_000 });
    const report = await status();
    expect(report.ports).toEqual([{ to: '10.193.0.3:53/udp', used: 46_000, range }]);
    expect(report.warnings).toContain(warning('10.193.0.3:53/udp', 46_000));
    expect(report.proven).toBe(true);
  });

  // These are many thousand connections.
  const testMany = loadsFlowFiles ? test : test.skip;
  testMany(
    'are shown by apply and repair if at least half of them are in use, and always by status',
    async () => {
      await load({ ...masqueraded, count: half - 1 });
      expect((await network.apply(rules)).ports).toBeUndefined();
      expect((await status()).ports).toEqual([{ to: '10.193.0.3:5432', used: half - 1, range }]);
      await load(
        { ...masqueraded, count: 1, from: '10.132.0.11', port: 80 },
        { ...masqueraded, count: half },
      );
      const { ports, warnings } = await network.peermasq(['repair']);
      expect(ports).toEqual([{ to: '10.193.0.3:5432', used: half, range }]);
      expect(warnings).toEqual([]);
    },
  );

  const few = { ...masqueraded, count: 3 };
  const shown = [{ to: '10.193.0.3:5432', used: 3, range }];
  const rows: [string, Flows[], object[] | undefined][] = [
    ['masqueraded connections', [few], shown],
    [
      'connections from several pods',
      [few, { ...few, from: '10.132.7.7', via: '10.209.0.3', count: 2 }],
      [...shown, { to: '10.193.0.3:5432', used: 2, range }],
    ],
    ['connections from the node itself', [{ ...few, from: '10.209.0.2' }], shown],
    ['connections that are not masqueraded', [{ ...few, via: '10.132.0.10' }], undefined],
    ['connections to other destinations', [{ ...few, to: '192.0.2.1' }], undefined],
    ['connections to exempt addresses', [{ ...few, to: '10.193.7.1' }], undefined],
    ['connections in IPv6', [{ ...six, count: 2 }], [{ to: '[fd00:193::3]:443', used: 2, range }]],
    [
      'connections to three destinations, ordered by how many ports are in use',
      [
        few,
        { ...few, port: 81, count: 1 },
        { ...few, port: 82, count: 9, protocol: 'udp' },
        { ...few, port: 83, count: 5 },
      ],
      [{ to: '10.193.0.3:82/udp', used: 9, range }, { to: '10.193.0.3:83', used: 5, range }, ...shown],
    ],
  ];
  test.each(rows)(
    'are counted only if they belong to masqueraded connections: %s',
    async (_, flows, expected) => {
      await load(...flows);
      expect((await status()).ports).toEqual(expected);
    },
  );

  test('are counted with conntrack if the kernel does not provide /proc/net/nf_conntrack', async () => {
    await load(few, { ...six, count: 2 });
    expect((await status(withoutFile)).ports).toEqual([
      ...shown,
      { to: '[fd00:193::3]:443', used: 2, range },
    ]);
  });

  test('are counted even if the list of connections contains packet counters', async () => {
    await network.node.sysctl('netfilter/nf_conntrack_acct', '1');
    await load(few);
    await network.node.sysctl('netfilter/nf_conntrack_acct', '0');
    await load({ ...few, port: 80 });
    expect((await status()).ports).toEqual([{ to: '10.193.0.3:80', used: 3, range }, ...shown]);
  });

  test('are not counted if connections cannot be listed, and status has a warning', async () => {
    await load(few);
    network.hide('conntrack');
    const report = await status(withoutFile);
    expect(report.ports).toBeUndefined();
    expect(report.warnings).toContain(
      'source ports are not counted: neither /proc/net/nf_conntrack nor conntrack is available',
    );
  });
});
