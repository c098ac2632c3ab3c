import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { describeKernel } from '../lab/kernel';
import {
  backendVpc,
  clear,
  missing,
  type Network,
  openNetwork,
  ruleset,
  sh,
  testedBackends,
} from './network';

/**
 * Returns the rules of Calico's Felix, which inserts its jump at the top, and again whenever another rule is at the
 * top.
 */
const felix = (rules: string[]) => `*nat
:cali-POSTROUTING - [0:0]
:cali-fip-snat - [0:0]
:cali-nat-outgoing - [0:0]
-I POSTROUTING 1 -m comment --comment "cali:O3lYWMrLQYEMJtB5" -j cali-POSTROUTING
-A cali-POSTROUTING -j cali-fip-snat
-A cali-POSTROUTING -j cali-nat-outgoing
${rules.join('\n')}
COMMIT
`;

describe.each(testedBackends.filter((name) => name !== 'nft'))(
  'in %s tables shared with other programs,',
  (backend) => {
    describeKernel('in the kernel,', missing(backend), () => {
      let network: Network;
      const iptables = (rule: string) => sh(network.node, `${backend} -t nat ${rule}`);
      const postrouting = async () => (await iptables('-S POSTROUTING')).split('\n').slice(1, -1);

      beforeAll(async () => {
        network = await openNetwork(backend);
      });
      afterEach(() => clear(network));
      afterAll(() => network.lab.close());

      test.each([
        ['a jump of Felix without rules for pods', felix([])],
        [
          'a jump of Felix to rules for other packets',
          felix(['-A cali-fip-snat -s 10.9.0.1/32 -j SNAT --to-source 10.209.0.2']),
        ],
        [
          'a rule that masquerades the same packets',
          felix(['-A cali-nat-outgoing -s 10.132.0.0/14 -j MASQUERADE']),
        ],
        [
          'a jump of Felix to a chain that goes to another chain, from which packets return',
          felix(['-A cali-fip-snat -g cali-nat-outgoing', '-A cali-nat-outgoing -j RETURN']),
        ],
        [
          'rules that do not end traversal',
          '*nat\n-I POSTROUTING 1 -j MARK --set-xmark 0x0/0x0\n-I POSTROUTING 1 -m comment --comment count\nCOMMIT\n',
        ],
        ['a rule for another destination', '*nat\n-I POSTROUTING 1 -d 192.0.2.1/32 -j ACCEPT\nCOMMIT\n'],
      ])(
        '%s may come before our jump: the report has a warning, and the jump is not moved',
        async (_, rules) => {
          await network.apply(backendVpc());
          await network.node.run([`${backend}-restore`, '--noflush'], { stdin: rules });
          const before = await postrouting();
          const report = await network.peermasq(['repair']);
          expect(report).toMatchObject({ result: 'unchanged', proven: true });
          expect(report.warnings).toEqual([
            expect.stringMatching(
              /^rules of other programs come before ours, but do not stop pods' packets: /,
            ),
          ]);
          expect(await postrouting()).toEqual(before);
          expect(await network.sourceSeen()).toBe('10.209.0.2');
        },
      );

      test.each([
        ["accepts pods' packets", felix(['-A cali-fip-snat -s 10.132.0.0/14 -j ACCEPT'])],
        [
          "translates pods' packets to another address",
          felix(['-A cali-nat-outgoing -j SNAT --to-source 10.132.0.1']),
        ],
        [
          "ends the hook for pods' packets with a goto",
          felix(['-A cali-nat-outgoing -j RETURN']).replace('-j cali-POSTROUTING', '-g cali-POSTROUTING'),
        ],
      ])('a rule may not come before our jump if it %s', async (_, rules) => {
        await network.apply(backendVpc());
        await network.node.run([`${backend}-restore`, '--noflush'], { stdin: rules });
        expect(await network.peermasq(['status'])).toMatchObject({
          proven: false,
          drift: ['jump not first'],
        });
        expect(await network.peermasq(['repair'])).toMatchObject({
          result: 'applied',
          proven: true,
          warnings: [],
        });
        expect((await postrouting())[0]).toContain('-j PEERMASQ');
        expect(await network.sourceSeen()).toBe('10.209.0.2');
      });

      test('our chain is emptied but kept if a foreign rule refers to it, and the error names the rule', async () => {
        await network.apply(backendVpc());
        await sh(
          network.node,
          `${backend} -t nat -N others; ${backend} -t nat -A others -s 10.132.0.0/14 -j PEERMASQ`,
        );
        expect(await network.peermasq(['remove'])).toMatchObject({
          code: 3,
          result: 'failed',
          reason: `chain PEERMASQ of ${backend} is empty, but cannot be deleted: -A others -s 10.132.0.0/14 -j PEERMASQ`,
        });
        expect(await iptables('-S PEERMASQ')).toBe('-N PEERMASQ\n');
        expect(await postrouting()).toEqual([]);
        await iptables('-F others');
        expect(await network.peermasq(['remove'])).toMatchObject({ code: 0, result: 'removed' });
        expect(await iptables('-S')).not.toContain('PEERMASQ');
      });

      test('our rules are not counted if no packet can reach them', async () => {
        await network.apply(backendVpc());
        await iptables('-D POSTROUTING 1');
        expect(await network.peermasq(['status'])).toMatchObject({ drift: ['jump missing'], rules: 0 });
      });
    });
  },
);

describeKernel(
  'on a node without nft whose iptables-nft tables cannot be read,',
  missing('iptables-legacy'),
  () => {
    let network: Network;
    beforeAll(async () => {
      network = await openNetwork('auto');
    });
    afterEach(() => clear(network));
    afterAll(() => network.lab.close());

    test('iptables-legacy is used, because no other backend can be', async () => {
      await network.node.run([
        'nft',
        'table ip nat { chain POSTROUTING { type nat hook postrouting priority srcnat; meta mark 1 masquerade; }; }',
      ]);
      network.hide('nft');
      expect(await network.apply(ruleset(1, 'masquerade 10.193.0.0/16 a'))).toMatchObject({
        result: 'applied',
        backend: 'iptables-legacy',
        // The tables that cannot be read may still contain our rules.
        proven: false,
      });
    });
  },
);
