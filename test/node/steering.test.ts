import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeKernel } from '../lab/kernel';
import { backends, clear, missing, type Network, openNetwork, ruleset, sh, testedBackends } from './network';
import { watchedNode } from './watched-node';

const lines = (...destinations: readonly string[]) => [
  'source 10.132.0.0/14',
  'source fd00:132::/32',
  'exempt 10.132.0.0/14 pods',
  ...(destinations.length > 0 ? destinations : ['10.193.0.0/16']).map(
    (cidr, i) => `masquerade ${cidr} d${i}`,
  ),
  'masquerade fd00:193::/32 six',
];
const steered = (generation: number, ...destinations: readonly string[]) =>
  ruleset(generation, 'option steer', ...lines(...destinations)).replace('peermasq/1', 'peermasq/2');
const unsteered = (generation: number) => ruleset(generation, ...lines());

const manyDestinations = [...Array(40).keys()].map((i) => `10.193.${i}.0/24`);

/** Returns the rules that the program wrote to table mangle before it used nft for steering. */
const rulesInMangle = (version: 4 | 6) => `*mangle
:PEERMASQ-STEER - [0:0]
-I PREROUTING 1 -m conntrack --ctstate NEW,SNAT --ctdir ORIGINAL -m comment --comment peermasq -j PEERMASQ-STEER
-A PEERMASQ-STEER -d ${version === 4 ? '10.199.0.0/16' : 'fd00:199::/32'} -m comment --comment "peermasq: old" -j MARK --set-xmark 0x1000/0x1000
COMMIT
`;

describe.each(testedBackends)('steering on %s', (backend) => {
  describeKernel('in the kernel', missing(backend) ?? missing('nft'), () => {
    let network: Network;
    const iptables = backend === 'nft' ? 'iptables-nft' : backend;
    const iptables6 = iptables.replace('ip', 'ip6');
    const node = (command: string) => sh(network.node, command);
    /** Returns all lines of the kernel's state that belong to peermasq. */
    const ours = async () => {
      const text = await node(
        `${iptables}-save; ${iptables6}-save; nft -s list ruleset; ip rule; ip -6 rule; ipset save`,
      );
      return text.split('\n').filter((line) => /peermasq|jump steer|0x0*1000/i.test(line));
    };
    const mangle = () => node(`${iptables}-save -t mangle; ${iptables6}-save -t mangle`);
    /** Returns the commands that change the kernel during apply, in order. */
    const changesBy = async (text: string) => {
      const { stderr } = await network.execute(['apply'], { stdin: text });
      return [...stderr.matchAll(/^peermasq: run: ((ip6?tables|nft)\S*|ip -[46] rule \w+)/gm)].map(
        ([, command = '']) => command,
      );
    };

    beforeAll(async () => {
      network = await openNetwork(backend);
      await node('ip rule add pref 1536 from 10.132.0.10 lookup main');
      await node('ip -6 rule add pref 1536 from fd00:132::10 lookup main');
    });
    afterEach(async () => {
      await network.peermasq(['remove']);
      await clear(network);
    });
    afterAll(() => network.lab.close());

    test('uses an nft table that is checked, counted, repaired and removed', async () => {
      const before = await ours();
      const applied = await network.apply(steered(1));
      expect(applied).toMatchObject({ result: 'applied', proven: true, steered: true, rules: 6 });
      const expected = await ours();
      expect(await mangle()).not.toContain('PEERMASQ');
      expect(await network.apply(steered(2))).toMatchObject({ result: 'unchanged', proven: true, rules: 6 });
      const note = backend === 'nft' ? '' : ' for steering';
      for (const [drift, command] of [
        [`table differs${note}`, 'nft flush chain ip peermasq steer'],
        [`table missing${note} (IPv6)`, 'nft delete table ip6 peermasq'],
        ['ip rule missing', 'ip rule del pref 1100'],
      ] as const) {
        await node(command);
        expect(await network.peermasq(['status'])).toMatchObject({ proven: false, drift: [drift] });
        expect(await network.peermasq(['repair'])).toMatchObject({ result: 'applied', proven: true });
        expect(await ours()).toEqual(expected);
      }
      expect(await network.sourceSeen()).toBe('10.209.0.2');
      expect(await network.peermasq(['remove'])).toMatchObject({ result: 'removed' });
      expect(await ours()).toEqual(before);
      expect(await network.peermasq(['remove'])).toMatchObject({ result: 'unchanged' });
    });

    test('skips IPv6 metadata servers inside wider ranges', async () => {
      const wide = steered(1).replace('fd00:193::/32', 'fd00::/16');
      expect(await network.apply(wide)).toMatchObject({ result: 'applied', proven: true, steered: true });
      const chain = await node('nft list chain ip6 peermasq steer');
      expect(chain).toMatch(/ip6 daddr fd00:ec2::254 return .*\n(.*\n)*.*daddr fd00::\/16 meta mark set/);
      expect(await network.peermasq(['status'])).toMatchObject({ proven: true, drift: [] });
    });

    test('uses its own sets for many destinations', async () => {
      const applied = await network.apply(steered(1, ...manyDestinations));
      expect(applied).toMatchObject({ proven: true, rules: 6 });
      const steering = (await node('nft list chain ip peermasq steer')).match(
        /ip daddr @destinations .* mark set/g,
      );
      expect(steering).toHaveLength(1);
      await node("nft delete element ip peermasq destinations '{ 10.193.7.0/24 }'");
      expect(await network.peermasq(['status'])).toMatchObject({ proven: false });
      expect(await network.peermasq(['repair'])).toMatchObject({ result: 'applied', proven: true });
    });

    test('begins after masquerading has begun, and ends before masquerading changes', async () => {
      const masquerading = backend === 'nft' ? [] : [`${iptables}-restore`, `${iptables6}-restore`];
      expect(await changesBy(steered(1))).toEqual([
        ...['ip -4 rule add', 'ip -6 rule add'],
        ...[...masquerading, 'nft'],
      ]);
      expect(await changesBy(unsteered(2))).toEqual([
        ...['ip -4 rule del', 'ip -6 rule del'],
        ...[...masquerading, 'nft'],
      ]);
      expect((await ours()).join('\n')).not.toMatch(/steer|0x0*1000/i);
    });

    test('is left unchanged if a change fails', async () => {
      const fakes = join(network.node.folder, 'fakes');
      mkdirSync(fakes, { recursive: true });
      const refusing = (command: string) => {
        const fake = `#!/bin/sh\ncase " $* " in *' -f '* | *' --noflush '*) echo refused >&2; exit 1;; esac\n`;
        writeFileSync(join(fakes, command), `${fake}PATH=/usr/sbin:/sbin exec ${command} "$@"\n`);
        chmodSync(join(fakes, command), 0o755);
        return { PATH: `${fakes}:${process.env['PATH'] ?? ''}` };
      };
      const nothing = await ours();
      const failed = { code: 3, result: 'failed', proven: false };
      expect(await network.apply(steered(1), refusing('nft'))).toMatchObject(failed);
      expect(await ours()).toEqual(nothing);
      await node(`rm ${fakes}/nft`);
      await network.apply(steered(2));
      const before = await ours();
      const env = refusing(backend === 'nft' ? 'nft' : `${iptables6}-restore`);
      expect(await network.apply(unsteered(3), env)).toMatchObject(failed);
      expect((await ours()).toSorted()).toEqual(before.toSorted());
      await node(`rm -r ${fakes}`);
      expect(await network.peermasq(['status'])).toMatchObject({ proven: true, generation: 2, drift: [] });
    });

    test('keeps working when the backend changes', async () => {
      const others = backends.filter((other) => other !== backend && missing(other) === undefined);
      for (const other of [...others, backend]) {
        const report = await network.apply(steered(1), { PEERMASQ_BACKEND: other });
        expect(report).toMatchObject({ code: 0, proven: true, steered: true, backend: other, rules: 6 });
      }
      const table = await node('nft list table ip peermasq');
      expect(table).toContain('chain steer');
      expect(table.includes('chain postrouting')).toBe(backend === 'nft');
    });

    if (backend === 'iptables-nft') {
      test('is included in the fingerprint of watch', async () => {
        const { serve, order, watch, status, request, stop } = watchedNode(() => network.node);
        await serve();
        await order({ set: { 'peermasq-ruleset': steered(1) } });
        watch({ PEERMASQ_INTERVAL: '1', PEERMASQ_BACKEND: backend });
        expect(await status()).toMatchObject({ result: 'applied', proven: true });
        // The first checks are full checks. After that, only fingerprints are compared.
        for (let round = 0; round < 4; round++) await request(/wait_for_change/);
        await node('nft flush chain ip peermasq steer');
        await request(/wait_for_change/);
        await request(/wait_for_change/);
        expect(await node('nft list table ip peermasq')).toContain('0x00001000');
        await stop();
      });
    }

    if (backend !== 'nft') {
      test('uses table mangle on a node without nft, until nft is installed', async () => {
        network.hide('nft');
        const report = { result: 'applied', proven: true, steered: true, rules: 6 };
        expect(await network.apply(steered(1))).toMatchObject(report);
        expect((await mangle()).match(/^-A PEERMASQ-STEER.* -j MARK/gm)).toHaveLength(2);
        await node('umount /usr/sbin/nft');
        network.mounted.splice(0);
        expect(await network.peermasq(['repair'])).toMatchObject(report);
        expect(await mangle()).not.toContain('PEERMASQ');
        expect(await node('nft list table ip peermasq')).toContain('chain steer');
        expect(await network.sourceSeen()).toBe('10.209.0.2');
      });

      describe('on a node without nft, rules of other programs in table mangle', () => {
        const calls = (...rules: readonly string[]) => [':other - [0:0]', ':more - [0:0]', ...rules];
        const addRules = (rules: readonly string[]) =>
          network.node.run([`${iptables}-restore`, '--noflush'], {
            stdin: ['*mangle', ...rules, 'COMMIT', ''].join('\n'),
          });
        const bypassedBy = (rules: readonly string[]) => ({
          result: 'applied',
          proven: false,
          steered: true,
          reason: `install nft (package nftables): without it, pods' packets may not be steered, because of this rule in table mangle: ${rules.at(-1)}`,
        });

        test.each([
          ['accept packets', ['-A PREROUTING -p tcp -j ACCEPT']],
          ['pass packets to a program', ['-A PREROUTING -s 10.132.0.0/24 -j NFQUEUE --queue-num 7']],
          ['return packets from the hook', ['-A PREROUTING ! -i eth0 -j RETURN']],
          ['go to a chain that never returns to the hook', calls('-A PREROUTING -i cbr0 -g other')],
          [
            'accept packets in a chain of a chain',
            calls('-A PREROUTING -j other', '-A other -g more', '-A more -i cbr+ -j ACCEPT'),
          ],
          [
            'have a comment about other packets',
            ['-A PREROUTING -m comment --comment "x -i eth0 -d 192.0.2.1/32 y" -j ACCEPT'],
          ],
        ])('keep it from being proven if they %s', async (_, rules) => {
          network.hide('nft');
          await addRules(rules);
          expect(await network.apply(steered(1))).toMatchObject(bypassedBy(rules));
        });

        test('no longer keep it from being proven once nft is installed', async () => {
          network.hide('nft');
          const rules = ['-A PREROUTING -j ACCEPT'];
          await addRules(rules);
          await network.apply(steered(1));
          const expected = { ...bypassedBy(rules), result: 'status', drift: [] };
          expect(await network.peermasq(['status'])).toMatchObject(expected);
          await node('umount /usr/sbin/nft');
          network.mounted.splice(0);
          expect(await network.peermasq(['repair'])).toMatchObject({ result: 'applied', proven: true });
        });

        test('do not keep it from being proven if packets of pods pass them', async () => {
          network.hide('nft');
          const rules = calls(
            ...['eth0', 'lo'].map((device) => `-A PREROUTING -i ${device} -j ACCEPT`),
            '-A PREROUTING -s 192.0.2.0/24 -j ACCEPT',
            '-A PREROUTING -d 192.0.2.0/24 -j ACCEPT',
            '-A PREROUTING -m conntrack --ctstate INVALID -j DROP',
            '-A PREROUTING -j DSCP --set-dscp 0x0a',
            '-A PREROUTING -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80',
            ...['veth0', 'cbr0'].map((device) => `-A PREROUTING -i ${device} -j other`),
            '-A other -g more',
            '-A more -j RETURN',
            '-A OUTPUT -j ACCEPT',
          );
          await addRules(rules);
          expect(await network.apply(steered(1))).toMatchObject({ result: 'applied', proven: true });
          expect(await network.sourceSeen()).toBe('10.209.0.2');
        });
      });

      test.each([
        ['steers', steered(3)],
        ['does not steer', unsteered(3)],
      ])(
        'removes the rules that an older program wrote to table mangle, if the rule set %s',
        async (_, text) => {
          await network.apply(steered(2));
          await node('nft delete table ip peermasq; nft delete table ip6 peermasq');
          await network.node.run([`${iptables}-restore`, '--noflush'], { stdin: rulesInMangle(4) });
          await network.node.run([`${iptables6}-restore`, '--noflush'], { stdin: rulesInMangle(6) });
          expect(await network.apply(text)).toMatchObject({ result: 'applied', proven: true });
          expect(await mangle()).not.toContain('PEERMASQ');
          expect(await network.peermasq(['repair'])).toMatchObject({ result: 'unchanged', proven: true });
        },
      );
    }
  });
});
