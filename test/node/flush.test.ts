import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { contains, parseAddress, parseCidr } from '../../shared/core/model/cidr';
import { definedOnly } from '../../shared/core/util/collections';
import { describeKernel } from '../lab/kernel';
import { loadFlows, loadsFlowFiles } from './flows';
import { clear, missing, type Network, openNetwork, program, ruleset } from './network';

// The long run, with as many connections as a busy node has: PEERMASQ_FLUSH=all.
const isLongRun = process.env['PEERMASQ_FLUSH'] === 'all';
const longTimeout = isLongRun ? 900_000 : 60_000;

/** A connection in conntrack, as the tests below create it. By default it is an unanswered TCP connection. */
type Flow = {
  protocol?: 'tcp' | 'udp' | 'icmp';
  from: string;
  to: string;
  port?: number;
  isAnswered?: true;
  /** The addresses of the reply, where they differ. */
  snat?: string;
  dnat?: string;
};

const hanging: Flow = { from: '10.132.0.10', to: '10.193.0.3' };
const rules = [
  'source 10.132.0.0/14',
  'source fd00:132::/32',
  'exempt 10.193.7.0/24 except',
  'masquerade 10.193.0.0/16 backend-vpc',
  'masquerade fd00:193::/32 six',
];

/** The line for `loadFlows`. */
function line({ protocol = 'tcp', from, to, port = 1024, isAnswered, snat, dnat }: Flow): string {
  const isTcp = protocol === 'tcp';
  const ports =
    protocol === 'icmp'
      ? ['--icmp-type', '8', '--icmp-code', '0', '--icmp-id', port]
      : ['--sport', port, '--dport', 80, '--reply-port-src', 80, '--reply-port-dst', port];
  const state = isAnswered ? 'ESTABLISHED' : 'SYN_SENT';
  const addresses = ['-s', from, '-d', to, '-r', dnat ?? to, '-q', snat ?? from];
  return ['-A', '-t', 600, '-u', isAnswered ? 'SEEN_REPLY' : 'UNSET', ...addresses, '-p', protocol, ...ports]
    .concat(isTcp ? ['--state', state] : [])
    .join(' ');
}

const keyOf = ({ protocol = 'tcp', from, to, port = 1024 }: Flow) => `${protocol} ${from} ${to} ${port}`;

describeKernel('stale connections', missing('iptables-nft'), () => {
  let network: Network;
  let tools: string;
  let generation = 0;
  beforeAll(async () => {
    network = await openNetwork('iptables-nft');
    tools = join(network.node.folder, 'tools');
  });
  afterEach(async () => {
    rmSync(tools, { recursive: true, force: true });
    await network.node.exec(['conntrack', '-F']);
    await clear(network);
  });
  afterAll(() => network.lab.close());

  const load = async (flows: readonly Flow[]) => {
    await loadFlows(network.node, flows.map(line));
  };
  /** Puts a script in front of conntrack. It runs conntrack afterwards. */
  const wrap = (script: string) => {
    mkdirSync(tools, { recursive: true });
    const text = `#!/bin/sh\n${script}\nexec /usr/sbin/conntrack "$@"\n`;
    writeFileSync(join(tools, 'conntrack'), text, { mode: 0o755 });
  };
  const path = () => ({ PATH: `${tools}:${process.env['PATH'] ?? ''}` });
  const apply = (...lines: string[]) => network.apply(ruleset(++generation, ...lines), path());
  const remaining = async () => {
    const list = (family: string) => network.node.run(['conntrack', '-L', '-f', family]);
    const text = (await list('ipv4')) + (await list('ipv6'));
    const pattern = /^(\w+) .*?src=(\S+) dst=(\S+) (?:sport=|type=8 code=0 id=)(\d+) /gm;
    return [...text.matchAll(pattern)].map(([, ...parts]) => parts.join(' ')).sort();
  };
  /** Applies the rules and logs how the program calls conntrack. */
  const callsOf = async (...lines: string[]) => {
    const log = join(network.node.folder, 'calls');
    writeFileSync(log, '');
    wrap(`echo "$*" >>'${log}'`);
    const report = await apply(...lines);
    const calls = readFileSync(log, 'utf8').split('\n');
    const withOption = (option: string) => calls.filter((call) => call.startsWith(option)).length;
    return { ...report, dumps: withOption('-L'), walks: withOption('-D') };
  };

  const largeCount = isLongRun ? 50_000 : 5_000;
  const count = loadsFlowFiles ? largeCount : 200;
  const flowsTo = (to: string, length: number, pods = 250): Flow[] =>
    Array.from({ length }, (_, i) => ({
      from: `10.132.${1 + (i % pods)}.10`,
      to,
      port: 1024 + Math.floor(i / pods),
    }));

  test(
    'of many pods are deleted in one walk, among many that are unanswered too',
    async () => {
      await load([
        ...flowsTo('10.250.0.9', count),
        ...flowsTo('10.193.7.9', 500),
        ...flowsTo('10.193.0.3', 100),
      ]);
      const report = await callsOf(...rules);
      expect(report).toMatchObject({ result: 'applied', flushed: 100, dumps: 2, walks: 1, warnings: [] });
      expect(await remaining()).toHaveLength(count + 500);
    },
    longTimeout,
  );

  test(
    'cost little more than a dump, however many there are',
    async () => {
      const cpu = async (script: string) => {
        const { stderr } = await network.node.exec(
          ['bash', '-c', `TIMEFORMAT='%U %S'; time { ${script}; } >/dev/null 2>&1`],
          { stdin: ruleset(++generation, ...rules), env: { PEERMASQ_PERSIST: '0', ...path() } },
        );
        return stderr
          .trim()
          .split(' ')
          .map(Number)
          .reduce((sum, seconds) => sum + seconds, 0);
      };
      const folder = join(network.node.folder, 'kept');
      const applying = `PEERMASQ_DIR='${folder}' PEERMASQ_BACKEND=iptables-nft bash '${program}' apply`;
      await load(flowsTo('10.250.0.9', count));
      const base = await cpu(applying);
      const dump = await cpu('conntrack -L');
      await load(flowsTo('10.193.0.3', 100));
      const flushing = (await cpu(applying)) - base;
      if (isLongRun) console.log({ count, base, dump, flushing });
      expect(flushing).toBeLessThan(3 * dump + 0.3);
    },
    longTimeout,
  );

  test(
    'that a pod creates in great number are deleted in one walk',
    async () => {
      await load([...flowsTo('10.193.0.3', count, 1), { ...hanging, to: '10.193.3.1' }]);
      expect(await callsOf(...rules)).toMatchObject({ flushed: count + 1, walks: 1, warnings: [] });
      expect(await remaining()).toEqual([]);
    },
    longTimeout,
  );

  test('take at most 16 walks, TCP first, and the report says what is left', async () => {
    const ranges = Array.from({ length: 20 }, (_, i) => `10.64.${i * 2}.0/24`);
    const flows = ranges.map((range): Flow => ({ ...hanging, to: range.replace('.0/24', '.9') }));
    const udp = ['10.64.0.9', '10.64.2.9'].map((to): Flow => ({ ...hanging, protocol: 'udp', to }));
    await load([...udp, ...flows]);
    const report = await callsOf(...rules, ...ranges.map((range, i) => `masquerade ${range} m${i}`));
    expect(report).toMatchObject({
      flushed: 16,
      walks: 16,
      warnings: ['flushed 16 stale connections: up to 6 more hang until they time out'],
    });
    const left = await remaining();
    expect(left.filter((key) => key.startsWith('tcp'))).toHaveLength(4);
    expect(left.filter((key) => key.startsWith('udp'))).toHaveLength(2);
  });

  describe('are distinguished from connections in the same range', () => {
    const other = { ...hanging, port: 2000 };
    const rows: [string, Flow][] = [
      ['that are answered', { ...other, isAnswered: true }],
      ['of UDP that are answered', { ...other, protocol: 'udp', isAnswered: true }],
      ['that are masqueraded', { ...other, snat: '10.209.0.2' }],
      ['of UDP that are masqueraded', { ...other, protocol: 'udp', snat: '10.209.0.2' }],
      ['that leave with another address of the pod range', { ...other, snat: '10.132.0.1' }],
      ['that lead to another address', { ...other, dnat: '10.193.0.4' }],
      ['to an exemption', { ...other, to: '10.193.7.1' }],
      ['of the node', { ...other, from: '10.209.0.2' }],
      ['to another destination', { ...other, to: '10.194.0.1' }],
      ['of IPv6 that are answered', { from: 'fd00:132::1', to: 'fd00:193::3', isAnswered: true }],
    ];
    const kinds: Flow[] = [
      hanging,
      { ...hanging, protocol: 'udp' },
      { ...hanging, protocol: 'icmp' },
      { from: 'fd00:132::10', to: 'fd00:193::3' },
    ];
    const stale = kinds.filter(({ protocol }) => loadsFlowFiles || protocol !== 'icmp');
    test.each(rows)('%s', async (_, flow) => {
      await load([flow, ...stale]);
      expect(await apply(...rules)).toMatchObject({ flushed: stale.length, warnings: [] });
      expect(await remaining()).toEqual([keyOf(flow)]);
    });
  });

  test('are deleted from any source where the rule set names none', async () => {
    await load([hanging, { ...hanging, from: '192.0.2.1' }, { ...hanging, to: '10.194.0.1' }]);
    expect(await callsOf('masquerade 10.193.0.0/16 a')).toMatchObject({ flushed: 2, walks: 1 });
    expect(await remaining()).toEqual(['tcp 10.132.0.10 10.194.0.1 1024']);
  });

  test('are recognized in connections with counters', async () => {
    await network.node.sysctl('netfilter/nf_conntrack_acct', '1');
    await load([hanging, { ...hanging, protocol: 'udp' }]);
    await network.node.sysctl('netfilter/nf_conntrack_acct', '0');
    expect(await apply(...rules)).toMatchObject({ flushed: 2 });
  });

  test('remain where conntrack fails, which the report says', async () => {
    await load([hanging]);
    wrap('echo "conntrack v1.4.2 (conntrack-tools): Operation failed" >&2; exit 1');
    const report = await apply(...rules);
    expect(report).toMatchObject({ result: 'applied', flushed: 0 });
    expect(report.warnings).toEqual([
      'conntrack -L: conntrack v1.4.2 (conntrack-tools): Operation failed: connections that already hang keep hanging',
    ]);
  });

  test('are deleted by another walk where one ends early', async () => {
    await load(flowsTo('10.193.0.3', 10));
    // conntrack before 1.4.5 ends when a connection that it deletes is gone already.
    wrap(`case "$1 $*" in
    '-D '*) [ -e '${tools}/once' ] || {
      : >'${tools}/once'
      /usr/sbin/conntrack "$@" -s 10.132.1.10 2>/dev/null
      echo 'conntrack v1.4.4 (conntrack-tools): Operation failed: No such file or directory' >&2
      exit 1
    } ;;
    esac`);
    expect(await apply(...rules)).toMatchObject({ flushed: 10, warnings: [] });
  });

  test(
    'are exactly those that a rule set masquerades and nothing answered',
    async () => {
      await fc.assert(
        fc.asyncProperty(anyRanges, fc.array(anyFlow, { maxLength: 40 }), async (ranges, shapes) => {
          const flows = shapes.map((shape, i): Flow => ({ ...shape, port: 1024 + i }));
          await network.node.run(['conntrack', '-F']);
          await load(flows);
          const { result, flushed, warnings } = await apply(...linesOf(ranges));
          expect(result).toBe('applied');
          const keys = await remaining();
          const stale = flows.filter((flow) => isStale(ranges, flow)).map(keyOf);
          const others = flows.map(keyOf).filter((key) => !stale.includes(key));
          expect(keys.filter((key) => !stale.includes(key))).toEqual(others.sort());
          const left = stale.filter((key) => keys.includes(key)).length;
          expect(flushed).toBe(stale.length - left);
          expect(left).toBeLessThanOrEqual(Number(/up to (\d+) more/.exec(warnings.join())?.[1] ?? 0));
        }),
        { numRuns: isLongRun ? 200 : 6, endOnFailure: true },
      );
    },
    longTimeout,
  );
});

type Ranges = { source: string[]; exempt: string[]; masquerade: string[] };

const many = (prefix: string, suffix: string) =>
  Array.from({ length: 40 }, (_, i) => `${prefix}${i + 1}${suffix}`);
const someOf = (ranges: string[], more: string[], minLength = 0) =>
  fc
    .tuple(fc.subarray(ranges, { minLength }), fc.constantFrom([], more))
    .map(([some, others]) => [...some, ...others]);

/** Few ranges and addresses, so that many addresses are in a range, and at the edges of ranges. */
const anyRanges: fc.Arbitrary<Ranges> = fc.record({
  source: someOf(
    ['10.132.0.0/14', '10.140.0.0/25', '10.140.0.128/32', 'fd00:132::/32', 'fd00:0:0:1::/64'],
    many('10.209.0.', '/32'),
  ),
  exempt: someOf(
    ['10.193.7.0/24', '10.193.128.0/21', '10.193.0.3/32', 'fd00:193:0:7::/64', 'fd00:193::3/128'],
    many('10.193.8.', '/32'),
  ),
  masquerade: someOf(
    ['10.192.0.0/13', '10.193.0.0/16', '100.64.0.9/32', 'fd00:193::/32', 'fd00:200::/30'],
    [...many('10.64.', '.0/24'), ...many('fd00:193:', '::/48')],
    1,
  ),
});

const anyFlow4 = fc.record({
  from: fc.constantFrom('10.132.0.10', '10.135.255.255', '10.140.0.127', '10.140.0.128', '10.209.0.2'),
  to: fc.constantFrom(
    '10.193.0.3',
    '10.193.0.4',
    '10.193.7.0',
    '10.193.8.0',
    '10.193.135.255',
    '100.64.0.9',
    '10.64.9.1',
  ),
  snat: fc.option(fc.constantFrom('10.209.0.2', '10.132.0.1'), { nil: undefined, freq: 4 }),
  dnat: fc.option(fc.constantFrom('10.193.0.9', '192.0.2.9'), { nil: undefined, freq: 8 }),
});
const anyFlow6 = fc.record({
  from: fc.constantFrom('fd00:132::10', 'fd00:132:0:1::', 'fd00:0:0:1::1', 'fd00:0:0:2::1'),
  to: fc.constantFrom('fd00:193::3', 'fd00:193::4', 'fd00:193:0:7::1', 'fd00:203:ffff::1', 'fd00:204::1'),
  snat: fc.option(fc.constant('fd00:209::2'), { nil: undefined, freq: 4 }),
});
const anyFlow: fc.Arbitrary<Flow> = fc
  .tuple(
    fc.oneof(anyFlow4, anyFlow6),
    fc.constantFrom<('tcp' | 'udp')[]>('tcp', 'tcp', 'udp'),
    fc.option(fc.constant<true>(true), { nil: undefined, freq: 3 }),
  )
  .map(([addresses, protocol, isAnswered]) => definedOnly({ ...addresses, protocol, isAnswered }));

const linesOf = ({ source, exempt, masquerade }: Ranges) => [
  ...source.map((range) => `source ${range}`),
  ...exempt.map((range) => `exempt ${range} e`),
  ...masquerade.map((range) => `masquerade ${range} m`),
];

const isIn = (ranges: readonly string[], address: string) =>
  ranges.some((range) => contains(parseCidr(range), parseAddress(address)));

const isStale = ({ source, exempt, masquerade }: Ranges, { from, to, isAnswered, snat, dnat }: Flow) =>
  !isAnswered &&
  (snat ?? from) === from &&
  (dnat ?? to) === to &&
  (source.length === 0 || isIn(source, from)) &&
  isIn(masquerade, to) &&
  !isIn(exempt, to);
