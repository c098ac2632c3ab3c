import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeKernel } from '../lab/kernel';
import { everyNeighbour } from './neighbours';
import {
  backends,
  backendVpc,
  clear,
  missing,
  natTable,
  type Network,
  openNetwork,
  ruleset,
  sh,
  testedBackends,
} from './network';

const full = ruleset(
  7,
  'option random-fully',
  'option out eth0',
  'source 10.132.0.0/14',
  'source fd00:132::/32',
  'exempt 10.132.0.0/14 pods',
  'exempt 10.193.7.0/24 except',
  'exempt fd00:132::/32 pods6',
  'masquerade 10.193.0.0/16 backend-vpc',
  'masquerade 10.194.0.1/32 a@b:/c.d_e-f',
  'masquerade fd00:193::/32 six',
);

const jump = '-A POSTROUTING -m comment --comment peermasq -j PEERMASQ';

const iptables4 = `:POSTROUTING ACCEPT
:PEERMASQ -
${jump}
-A PEERMASQ -d 10.132.0.0/14 -m comment --comment "peermasq: pods" -j RETURN
-A PEERMASQ -d 10.193.7.0/24 -m comment --comment "peermasq: except" -j RETURN
-A PEERMASQ -s 10.132.0.0/14 -d 10.193.0.0/16 -o eth0 -m addrtype ! --dst-type LOCAL -m comment --comment "peermasq: backend-vpc" -j MASQUERADE --random-fully
-A PEERMASQ -s 10.132.0.0/14 -d 10.194.0.1/32 -o eth0 -m addrtype ! --dst-type LOCAL -m comment --comment "peermasq: a@b:/c.d_e-f" -j MASQUERADE --random-fully`;

const iptables6 = `:POSTROUTING ACCEPT
:PEERMASQ -
${jump}
-A PEERMASQ -d fd00:132::/32 -m comment --comment "peermasq: pods6" -j RETURN
-A PEERMASQ -s fd00:132::/32 -d fd00:193::/32 -o eth0 -m addrtype ! --dst-type LOCAL -m comment --comment "peermasq: six" -j MASQUERADE --random-fully`;

const nftables = `table ip peermasq {
	chain postrouting {
		type nat hook postrouting priority srcnat - 1; policy accept;
		ip daddr 10.132.0.0/14 return comment "peermasq: pods"
		ip daddr 10.193.7.0/24 return comment "peermasq: except"
		ip saddr 10.132.0.0/14 ip daddr 10.193.0.0/16 oifname "eth0" fib daddr type != local counter masquerade fully-random comment "peermasq: backend-vpc"
		ip saddr 10.132.0.0/14 ip daddr 10.194.0.1 oifname "eth0" fib daddr type != local counter masquerade fully-random comment "peermasq: a@b:/c.d_e-f"
	}
}
table ip6 peermasq {
	chain postrouting {
		type nat hook postrouting priority srcnat - 1; policy accept;
		ip6 daddr fd00:132::/32 return comment "peermasq: pods6"
		ip6 saddr fd00:132::/32 ip6 daddr fd00:193::/32 oifname "eth0" fib daddr type != local counter masquerade fully-random comment "peermasq: six"
	}
}
`;

const everyRule = `
  for save in iptables-nft iptables-legacy ip6tables-nft ip6tables-legacy; do $save-save -t nat; done
  nft -s list ruleset
  ipset list -n`;

const manyDestinations = (count: number) =>
  Array.from({ length: count }, (_, i) => `masquerade 10.${100 + (i >> 8)}.${i & 255}.0/24 name-${i}`);

describe.each(backends)('our rules on %s', (backend) => {
  describeKernel('in the kernel', missing(backend), () => {
    let network: Network;
    // In every run, each backend is tested as far as its code differs from that of the others.
    const isTestedFully = testedBackends.includes(backend);
    /** The backend of the other programs on this node. */
    const nat = backend === 'nft' ? 'iptables-nft' : backend;
    const everything = async () =>
      (await sh(network.node, everyRule)).replaceAll(/^#.*\n|(?<=^:.*) \[.*\]$/gm, '');

    beforeAll(async () => {
      network = await openNetwork(backend);
    });
    beforeEach(() => network.node.run([`${nat}-restore`, '--noflush'], { stdin: everyNeighbour }));
    afterEach(() => clear(network));
    afterAll(() => network.lab.close());

    test('are exactly those in the rule set, come first, and leave the rules of other programs unchanged', async () => {
      const others = await natTable(network, nat);
      const first = await network.apply(full);
      expect(first).toMatchObject({ code: 0, result: 'applied', proven: true, generation: 7 });
      const table = await natTable(network, nat);
      if (backend === 'nft') {
        const text = await network.node.run(['nft', '-s', 'list', 'ruleset']);
        expect(text.slice(text.indexOf('table ip peermasq'))).toBe(nftables);
      } else {
        expect(ours(table)).toBe(iptables4);
        expect(await natTable(network, nat.replace('ip', 'ip6'))).toBe(iptables6);
        expect(table.split('\n').find((line) => line.startsWith('-A POSTROUTING'))).toBe(jump);
      }
      expect(foreign(table)).toBe(foreign(others));

      // They stay the same, byte for byte, when the rule set is applied again.
      const before = await everything();
      expect(await network.apply(full)).toMatchObject({ ...first, result: 'unchanged', flushed: 0 });
      expect(await network.apply(full.replace('generation 7', 'generation 8'))).toMatchObject({
        result: 'unchanged',
        id: first.id,
        generation: 8,
      });
      await network.peermasq(['repair']);
      expect(await everything()).toBe(before);

      expect(await network.peermasq(['remove'])).toMatchObject({ code: 0, result: 'removed' });
      expect(await natTable(network, nat)).toBe(others);
    });

    if (isTestedFully) {
      test('are removed together with everything else that peermasq created, and removing them again changes nothing', async () => {
        const before = await everything();
        await network.apply(ruleset(1, ...manyDestinations(60)));
        await network.peermasq(['remove']);
        // iptables-nft creates the base chains of the IPv6 table nat and never removes them.
        expect(await everything()).toBe(before);
        expect(readdirSync(network.node.folder)).not.toContain('kept');
        expect(await network.peermasq(['remove'])).toMatchObject({ code: 0, result: 'unchanged' });
        expect(await network.peermasq(['status'])).toMatchObject({ id: null, proven: false, drift: [] });
      });

      test('masquerade nothing if the rule set has only exemptions', async () => {
        const report = await network.apply(ruleset(1, 'exempt 10.132.0.0/14 pods'));
        expect(report).toMatchObject({ code: 0, result: 'applied', proven: true, rules: 1 });
        const empty = await network.apply(ruleset(2));
        expect(empty).toMatchObject({ code: 0, result: 'applied', proven: true, rules: 0 });
      });

      test('skip destinations in a family without a source, and the report has a warning', async () => {
        const report = await network.apply(
          ruleset(1, 'source 10.132.0.0/14', 'masquerade 10.193.0.0/16 a', 'masquerade fd00:193::/32 b'),
        );
        expect(report).toMatchObject({ code: 0, proven: true, rules: 1 });
        expect(report.warnings).toEqual(['no IPv6 source: IPv6 destinations are not masqueraded (1)']);
      });

      test.each([
        ['a list', 0, 7],
        ['a set', 32, 2],
      ])(
        'exempt the IPv6 metadata servers that are inside a wider range, in %s',
        async (_, exemptions, rules) => {
          await sh(network.peer, 'ip -6 route replace local fd00:ec2::/32 dev lo');
          await sh(
            network.router,
            "ip -6 route replace fd00:ec2::/32 via fd00:193::3; nft add element inet router known6 '{ fd00:ec2::/32 }'",
          );
          const lines = Array.from({ length: exemptions }, (__, i) => `exempt fd00:99::${i + 1}/128 e${i}`);
          const wide = [
            'source fd00:132::/32',
            'exempt fd00:132::/32 pods6',
            ...lines,
            'masquerade fd00::/16 wide',
          ];
          expect(await network.apply(ruleset(1, ...wide))).toMatchObject({
            result: 'applied',
            proven: true,
            rules,
          });
          expect(await network.sourceSeen('fd00:ec2::1')).toBe('fd00:209::2');
          expect(await network.sourceSeen('fd00:ec2::254')).toBe('dropped');
          expect(await network.peermasq(['status'])).toMatchObject({ proven: true, drift: [], rules });
          expect(await network.peermasq(['repair'])).toMatchObject({ result: 'unchanged', proven: true });
        },
      );

      test('include no extra exemption for a metadata server that the rule set already exempts', async () => {
        const own = ['exempt fd00:ec2::/120 a', 'exempt fd00:ec2::200/120 b', 'exempt fd00:ec2::123/128 c'];
        const report = await network.apply(ruleset(1, ...own, 'masquerade fd00:ec2::/32 d'));
        expect(report).toMatchObject({ result: 'applied', rules: 4 });
      });

      test('for IPv6 are removed when the new rule set has no IPv6 ranges', async () => {
        await network.apply(full);
        expect(await network.apply(backendVpc())).toMatchObject({ result: 'applied', proven: true });
        expect(await network.node.run(['ip6tables-save'])).not.toContain('PEERMASQ');
        expect(await network.node.run(['nft', 'list', 'ruleset'])).not.toContain('ip6 peermasq');
      });

      test.each([
        'iptables-nft -t raw -A PREROUTING -d 10.193.0.0/16 -j NOTRACK',
        'iptables-legacy -t raw -A PREROUTING -d 10.193.0.0/16 -j CT --notrack',
        "iptables-nft -t raw -A PREROUTING -m comment --comment 'x -d 192.0.2.1/32 y' -j NOTRACK",
        'nft add table inet fast; nft add chain inet fast p "{ type filter hook prerouting priority -300; }"; nft add rule inet fast p notrack',
      ])("are not proven if pods' packets may be untracked: %s", async (commands) => {
        await sh(network.node, commands);
        const report = await network.apply(backendVpc());
        expect(report).toMatchObject({ result: 'applied', proven: false });
        expect(report.reason).toContain('may keep packets of pods from being tracked');
        await network.node.run(['iptables-legacy', '-t', 'raw', '-F']);
      });

      test('are proven if only other packets are untracked', async () => {
        await sh(
          network.node,
          `iptables-nft -t raw -A PREROUTING -d 169.254.20.10 -j NOTRACK
        iptables-legacy -t raw -A OUTPUT -d 10.193.0.0/16 -j NOTRACK
        nft add table inet fast
        nft add chain inet fast o '{ type filter hook output priority -300; }'
        nft add rule inet fast o notrack`,
        );
        expect(await network.apply(backendVpc())).toMatchObject({ result: 'applied', proven: true });
        await network.node.run(['iptables-legacy', '-t', 'raw', '-F']);
      });

      test('count the packets that they masqueraded, and status names other masqueraders', async () => {
        await network.apply(backendVpc());
        await network.sourceSeen();
        const status = await network.peermasq(['status']);
        expect(status).toMatchObject({
          code: 0,
          result: 'status',
          proven: true,
          backend,
          drift: [],
          packets: 1,
        });
        expect(status.masqueraders).toEqual(
          expect.arrayContaining(['IP-MASQ-AGENT', 'AWS-SNAT-CHAIN-0', 'KUBE-POSTROUTING']),
        );
        expect(status.masqueraders.filter((name) => name.startsWith('direct: '))).toHaveLength(3);
        expect(status.masqueraders.join()).not.toContain('PEERMASQ');
      });
    }

    describe('above the threshold for sets,', () => {
      const withOverlaps = (count: number) => [
        ...['source 10.132.0.0/14', 'exempt 10.193.0.9/32 one', ...manyDestinations(count)],
        ...['masquerade 10.193.0.0/17 outer', 'masquerade 10.193.0.0/16 outermost'],
        'masquerade 10.193.0.7/32 inner',
      ];

      // The program fills and compares sets with ipset, whichever variant of iptables refers to them.
      const isFirstWithItsSets = backend !== 'iptables-legacy';

      test.each(isTestedFully && isFirstWithItsSets ? [51, 500] : [51])(
        'masquerade %d destinations with a set that has the same effect as a list',
        async (count) => {
          const report = await network.apply(ruleset(1, ...withOverlaps(count)));
          expect(report).toMatchObject({ code: 0, proven: true, rules: 2 });
          expect(await network.sourceSeen()).toBe('10.209.0.2');
          expect(await network.sourceSeen('10.193.0.9')).toBe('dropped');
        },
      );

      if (isFirstWithItsSets) {
        test('use the new set after a change, and the old set is removed', async () => {
          const sets = async () =>
            (await network.node.run(['ipset', 'list', '-n'])).split('\n').filter(Boolean);
          const lines = withOverlaps(51);
          await network.apply(ruleset(1, ...lines));
          expect(await network.apply(ruleset(2, ...lines))).toMatchObject({ result: 'unchanged' });
          const fewer = await network.apply(ruleset(3, ...lines.slice(0, -1)));
          expect(fewer).toMatchObject({ result: 'applied', proven: true });
          expect(await sets()).toHaveLength(backend === 'nft' ? 0 : 1);
          expect(await network.apply(backendVpc(4))).toMatchObject({ result: 'applied', proven: true });
          expect(await sets()).toEqual([]);
        });

        test('also use a set for exemptions, in both families', async () => {
          const lines = ['source 10.132.0.0/14', 'source fd00:132::/32'];
          for (let i = 0; i < 60; i++)
            lines.push(`exempt 10.200.${i}.0/24 e${i}`, `exempt fd00:200:${(i + 1).toString(16)}::/48 e${i}`);
          lines.push('masquerade 10.193.0.0/16 a', 'masquerade fd00:193::/32 b');
          expect(await network.apply(ruleset(1, ...lines))).toMatchObject({
            code: 0,
            proven: true,
            rules: 4,
          });
          expect(await network.sourceSeen('fd00:193::3')).toBe('fd00:209::2');
        });

        test('have drifted if a member of a set was deleted, and are repaired', async () => {
          await network.apply(ruleset(1, ...manyDestinations(60)));
          const [set] = (await network.node.run(['ipset', 'list', '-n'])).split('\n');
          if (backend === 'nft') {
            await network.node.run([
              'nft',
              'delete',
              'element',
              'ip',
              'peermasq',
              'destinations',
              '{ 10.100.7.0/24 }',
            ]);
          } else {
            await network.node.run(['ipset', 'del', set ?? '', '10.100.7.0/24']);
          }
          expect(await network.peermasq(['status'])).toMatchObject({
            proven: false,
            drift: [backend === 'nft' ? 'table differs' : 'set differs'],
          });
          expect(await network.peermasq(['repair'])).toMatchObject({
            code: 0,
            result: 'applied',
            proven: true,
          });
        });
      }

      if (backend === 'nft') {
        test('of both families are removed in one transaction', async () => {
          await network.apply(full);
          const { stderr } = await network.execute(['remove']);
          expect(stderr.match(/^peermasq: run: nft /gm)).toHaveLength(1);
          expect(await network.node.run(['nft', 'list', 'tables'])).not.toContain('peermasq');
        });

        // While a transaction deletes a set, lookups find nothing, so a packet could leave with the pod's address.
        test('keep their sets when the ranges in the sets are replaced', async () => {
          const handles = async () =>
            (await network.node.run(['nft', '-a', 'list', 'table', 'ip', 'peermasq'])).match(
              /^\s*(table|set|chain) .*$/gm,
            );
          await network.apply(ruleset(1, ...withOverlaps(60)));
          const before = await handles();
          expect(before).toHaveLength(3);
          expect(await network.apply(ruleset(2, ...withOverlaps(70)))).toMatchObject({ proven: true });
          expect(await handles()).toEqual(before);
        });

        test('get an additional set when one is needed', async () => {
          await network.apply(ruleset(1, ...manyDestinations(60)));
          const exemptions = Array.from({ length: 60 }, (_, i) => `exempt 10.200.${i}.0/24 e${i}`);
          const lines = ['source 10.132.0.0/14', ...exemptions, ...manyDestinations(60)];
          expect(await network.apply(ruleset(2, ...lines))).toMatchObject({ proven: true });
        });

        test('lose everything that other programs add to our tables', async () => {
          await network.apply(ruleset(1, ...withOverlaps(60)));
          const expected = await everything();
          for (const command of [
            'add table ip6 peermasq',
            'add counter ip peermasq foreign',
            'add set ip peermasq foreign { type mark; }',
            'add chain ip peermasq foreign',
            'add rule ip peermasq postrouting accept',
          ]) {
            await network.node.run(['nft', command]);
            const repaired = await network.peermasq(['repair']);
            expect([command, repaired]).toEqual([
              command,
              expect.objectContaining({ result: 'applied', proven: true }),
            ]);
            expect([command, await everything()]).toEqual([command, expected]);
          }
        });

        test('replace a set of the same name with a different type', async () => {
          await network.node.run([
            'nft',
            'add table ip peermasq; add set ip peermasq destinations { type mark; }',
          ]);
          expect(await network.apply(ruleset(1, ...withOverlaps(60)))).toMatchObject({ proven: true });
        });
      }

      if (isTestedFully && backend !== 'nft') {
        test('are a list if ipset is not installed', async () => {
          network.hide('ipset');
          const report = await network.apply(ruleset(1, ...manyDestinations(60)));
          expect(report).toMatchObject({ code: 0, proven: true, rules: 60 });
          expect(report.warnings).toEqual([
            'cannot use a set (ipset is not installed): using individual rules instead, which slows down new connections',
          ]);
        });
      }
    });

    describe('drift', () => {
      const drifts: [string, string[]][] =
        backend === 'nft'
          ? [
              ['table differs', ['nft', 'add', 'rule', 'ip', 'peermasq', 'postrouting', 'accept']],
              ['table missing', ['nft', 'delete', 'table', 'ip', 'peermasq']],
            ]
          : [
              [
                'jump missing',
                [
                  backend,
                  '-t',
                  'nat',
                  '-D',
                  'POSTROUTING',
                  '-m',
                  'comment',
                  '--comment',
                  'peermasq',
                  '-j',
                  'PEERMASQ',
                ],
              ],
              [
                'jump not first',
                [backend, '-t', 'nat', '-I', 'POSTROUTING', '-s', '10.132.0.99', '-j', 'RETURN'],
              ],
              [
                'duplicate jump',
                [
                  backend,
                  '-t',
                  'nat',
                  '-A',
                  'POSTROUTING',
                  '-m',
                  'comment',
                  '--comment',
                  'peermasq',
                  '-j',
                  'PEERMASQ',
                ],
              ],
              [
                'duplicate jump',
                [backend, '-t', 'nat', '-A', 'POSTROUTING', '-s', '10.0.0.0/8', '-j', 'PEERMASQ'],
              ],
              ['chain differs', [backend, '-t', 'nat', '-A', 'PEERMASQ', '-j', 'RETURN']],
              ['chain differs', [backend, '-t', 'nat', '-F', 'PEERMASQ']],
            ];

      if (isTestedFully || backend === 'nft') {
        test('of every kind is shown by status and fixed by repair', async () => {
          await network.apply(backendVpc());
          const expected = await everything();
          for (const [drift, argv] of drifts) {
            await network.node.run(argv);
            const seen = await network.peermasq(['status']);
            expect([argv, seen]).toEqual([
              argv,
              expect.objectContaining({ code: 0, proven: false, drift: [drift] }),
            ]);
            const repaired = await network.peermasq(['repair']);
            expect([argv, repaired]).toEqual([
              argv,
              expect.objectContaining({ code: 0, result: 'applied', proven: true }),
            ]);
            expect((await everything()).replaceAll(/^.*10\.132\.0\.99.*\n/gm, '')).toBe(expected);
          }
          expect(await network.peermasq(['repair'])).toMatchObject({
            code: 0,
            result: 'unchanged',
            proven: true,
          });
        });
      }

      if (isTestedFully) {
        test('that leaves no rules, as after a reboot, is fixed by repair from the stored rule set', async () => {
          const { id } = await network.apply(full);
          await network.node.run(['nft', 'flush', 'ruleset']);
          await network.node.run([`iptables-legacy-restore`], { stdin: '*nat\nCOMMIT\n' });
          await network.node.run([`ip6tables-legacy-restore`], { stdin: '*nat\nCOMMIT\n' });
          expect(await network.peermasq(['repair'])).toMatchObject({
            result: 'applied',
            proven: true,
            id,
            generation: 7,
          });
        });
      }
    });

    if (isTestedFully) {
      test('are those of a single rule set after five concurrent applies', async () => {
        const lines = (n: number) => [`masquerade 10.1.${n}.0/24 a`, `masquerade fd00:${n}::/32 b`];
        const env = { PEERMASQ_WAIT: '15' };
        const all = await Promise.all(
          [...Array(5).keys()].map((n) => network.apply(ruleset(n + 1, ...lines(n + 1)), env)),
        );
        expect(all.filter(({ code }) => code !== 0 && code !== 2)).toEqual([]);
        expect(await network.peermasq(['status'])).toMatchObject({ proven: true, generation: 5, drift: [] });
      });

      test('are removed from the old backend when the backend changes', async () => {
        const others = backends.filter((other) => other !== backend && missing(other) === undefined);
        for (const other of [...others, backend]) {
          const report = await network.apply(backendVpc(), { PEERMASQ_BACKEND: other });
          expect(report).toMatchObject({ code: 0, proven: true, backend: other });
        }
        const tables = await network.node.run(['nft', 'list', 'tables']);
        const carriers = [
          (await natTable(network, 'iptables-nft')).includes('PEERMASQ') ? 'iptables-nft' : '',
          (await natTable(network, 'iptables-legacy')).includes('PEERMASQ') ? 'iptables-legacy' : '',
          tables.includes('peermasq') ? 'nft' : '',
        ];
        expect(carriers.filter(Boolean)).toEqual([backend]);
      });
    }

    if (isTestedFully && backend !== 'nft') {
      test('of the previous rule set stay in force when IPv6 fails after IPv4', async () => {
        const fakes = join(network.node.folder, 'fakes');
        mkdirSync(fakes, { recursive: true });
        const fake = join(fakes, `ip6tables-${backend.slice(9)}-restore`);
        writeFileSync(fake, '#!/bin/sh\ncat >/dev/null; echo "no such kernel" >&2; exit 1\n');
        chmodSync(fake, 0o755);
        const env = { PATH: `${fakes}:${process.env['PATH'] ?? ''}` };

        const nothingYet = await everything();
        expect(await network.apply(full, env)).toMatchObject({
          code: 3,
          result: 'failed',
          proven: false,
          id: null,
        });
        expect(await everything()).toBe(nothingYet);

        const { id } = await network.apply(backendVpc(1));
        const before = await everything();
        const failed = await network.apply(full, env);
        expect(failed).toMatchObject({ code: 3, result: 'failed', proven: false, id, generation: 1 });
        expect(failed.reason).toContain('no such kernel');
        expect(await everything()).toBe(before);
        expect(await network.peermasq(['status'])).toMatchObject({ proven: true, id, generation: 1 });
      });
    }

    if (backend === 'iptables-legacy') {
      test('are not changed while another program holds the xtables lock: apply reports busy', async () => {
        const holder = network.node.spawn(['flock', '/run/xtables.lock', 'sh', '-c', 'echo held; sleep 60']);
        await holder.output(/held/);
        const before = await everything();
        const report = await network.apply(backendVpc(), { PEERMASQ_WAIT: '1' });
        expect(report).toMatchObject({ code: 4, result: 'busy', proven: false });
        await holder.stop();
        expect(await everything()).toBe(before);
        expect(await network.apply(backendVpc())).toMatchObject({ code: 0, result: 'applied', proven: true });
      });
    }
  });
});

describeKernel('on any backend,', missing('nft'), () => {
  let network: Network;
  beforeAll(async () => {
    network = await openNetwork('nft');
  });
  afterEach(() => clear(network));
  afterAll(() => network.lab.close());

  test('repair changes nothing without a stored rule set', async () => {
    expect(await network.peermasq(['repair'])).toMatchObject({
      code: 0,
      result: 'unchanged',
      id: null,
      proven: false,
    });
  });

  test('a rule set with an older generation, or the same generation but other content, is refused', async () => {
    const { id } = await network.apply(backendVpc(100));
    const rules = () => network.node.run(['nft', '-s', 'list', 'ruleset']);
    const before = await rules();
    expect(await network.apply(backendVpc(99))).toMatchObject({
      code: 2,
      result: 'refused',
      proven: false,
      id,
      generation: 100,
      reason: 'generation 99 is older than generation 100, which is in force',
    });
    const other = await network.apply(ruleset(100, 'masquerade 10.1.0.0/16 a'));
    expect(other).toMatchObject({
      code: 2,
      result: 'refused',
      reason: 'generation 100 is in force with different content: expected a newer generation',
    });
    expect(await rules()).toBe(before);
  });

  test('a generation from the future is refused, measured by the later of the clock and the stored report', async () => {
    const hours = 3_600_000;
    const inTwoDays = backendVpc(Date.now() + 48 * hours);
    expect(await network.apply(backendVpc(Date.now() + 23 * hours))).toMatchObject({ result: 'applied' });
    expect(await network.apply(inTwoDays)).toMatchObject({ code: 2, result: 'refused' });
    // The clock of a node may be wrong until it is synchronized after a boot.
    await sh(network.node, `touch -d '+30 hours' '${join(network.node.folder, 'kept/status')}'`);
    expect(await network.apply(inTwoDays)).toMatchObject({ code: 0, result: 'unchanged' });
    expect(await network.apply(backendVpc(Date.now() + 72 * hours))).toMatchObject({ result: 'refused' });
  });

  test('a stored rule set from the future stays in force, is reported, and can be given another generation', async () => {
    const stored = join(network.node.folder, 'kept/ruleset');
    const { id } = await network.apply(backendVpc());
    await sh(network.node, `sed -i '2s/.*/generation 4102444800000/' '${stored}'`);
    const inForce = { id, generation: 4102444800000, proven: true };
    const warning = 'generation 4102444800000 of the rule set in force is from the future';
    const warnings = [expect.stringContaining(warning)];
    expect(await network.peermasq(['repair'])).toMatchObject({ ...inForce, warnings });
    expect(await network.peermasq(['status'])).toMatchObject({ ...inForce, warnings });
    const { code, stdout } = await network.execute(['apply'], { stdin: backendVpc(Date.now()) });
    expect({ code, stdout }).toEqual({ code: 2, stdout: expect.stringContaining('"code":"clock-skew"') });
    await sh(network.node, `sed -i '2s/.*/generation 1/' '${stored}'`);
    expect(await network.apply(backendVpc(Date.now()))).toMatchObject({ result: 'unchanged', warnings: [] });
  });

  test('apply reports busy while another peermasq process holds the lock', async () => {
    const { id } = await network.apply(backendVpc());
    const holder = network.node.spawn([
      'flock',
      join(network.node.folder, 'kept/lock'),
      'sh',
      '-c',
      'echo held; sleep 60',
    ]);
    await holder.output(/held/);
    expect(await network.apply(full, { PEERMASQ_WAIT: '0' })).toMatchObject({
      code: 4,
      result: 'busy',
      id,
    });
    await holder.stop();
  });

  test('the stored files are the rule set that was sent and the report that was printed', async () => {
    const report = await network.apply(full);
    const kept = join(network.node.folder, 'kept');
    expect(readFileSync(join(kept, 'ruleset'), 'utf8')).toBe(full);
    const { code, ...printed } = report;
    expect(code).toBe(0);
    expect(JSON.parse(readFileSync(join(kept, 'status'), 'utf8'))).toEqual(printed);
    expect(readdirSync(kept).sort()).toEqual(['lock', 'ruleset', 'status']);
  });
});

const isOurs = (line: string) => /^:PEERMASQ|^-A PEERMASQ|-j PEERMASQ$/.test(line);
const ours = (table: string) =>
  table
    .split('\n')
    .filter((line) => isOurs(line) || line.startsWith(':POSTROUTING'))
    .join('\n');
const foreign = (table: string) =>
  table
    .split('\n')
    .filter((line) => !isOurs(line))
    .join('\n');
