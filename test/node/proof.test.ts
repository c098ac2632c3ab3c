import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { appendFileSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeKernel } from '../lab/kernel';
import {
  backendVpc,
  clear,
  missing,
  type Network,
  openNetwork,
  program,
  ruleset,
  sh,
  testedBackends,
} from './network';

const many = ruleset(
  1,
  'source 10.132.0.0/14',
  'exempt 10.132.0.0/14 pods',
  'masquerade 10.193.0.0/16 a',
  ...Array.from({ length: 40 }, (_, i) => `masquerade 10.100.${i}.0/24 m${i}`),
);

describe.each(testedBackends)('on %s, a repair that finds the node as it was last proven', (backend) => {
  describeKernel('in the kernel', missing(backend), () => {
    let network: Network;
    const kept = (name: string) => join(network.node.folder, 'kept', name);
    /** Returns the report of a repair, and whether the repair checked everything. */
    const repair = async () => {
      const report = await network.peermasq(['repair']);
      const since = report.basis?.filter((text) => text.startsWith('unchanged since ')) ?? [];
      return { ...report, isFull: since.length === 0 };
    };
    const prove = async (text: string) => {
      await network.apply(text);
      expect(await repair()).toMatchObject({ result: 'unchanged', proven: true, isFull: true });
      expect(await repair()).toMatchObject({ result: 'unchanged', proven: true, isFull: false });
    };

    beforeAll(async () => {
      network = await openNetwork(backend);
      await sh(network.node, 'iptables-legacy -t nat -L >/dev/null');
    });
    afterEach(async () => {
      await clear(network);
      await sh(
        network.node,
        `ip rule del priority 999 2>/dev/null || :
        ip link del veth9 2>/dev/null || :
        ip route replace default via 10.209.0.1
        ip addr replace 10.209.0.2/24 dev eth0
        echo 1 >/proc/sys/net/ipv4/ip_forward
        tc qdisc del dev eth0 clsact 2>/dev/null || :`,
      );
    });
    afterAll(() => network.lab.close());

    test('prints the report of that proof, and says since when nothing has changed', async () => {
      await network.apply(many);
      const { basis = [], ...full } = await network.peermasq(['repair']);
      const { basis: later, ...report } = await network.peermasq(['repair']);
      expect(report).toEqual(full);
      expect(later).toEqual([
        ...basis,
        expect.stringMatching(/^unchanged since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      ]);
      expect(await network.peermasq(['status'])).toMatchObject({ proven: true, basis });
    });

    const ours = {
      nft: [
        'nft add rule ip peermasq postrouting accept',
        "nft delete element ip peermasq destinations '{ 10.100.7.0/24 }'",
      ],
      'iptables-nft': [
        'iptables-nft -t nat -D POSTROUTING 1',
        'iptables-nft -t nat -I POSTROUTING -s 10.132.0.0/16 -j ACCEPT',
        'iptables-nft -t nat -A PEERMASQ -j RETURN',
        'ipset del "$(ipset list -n | grep peermasq)" 10.100.7.0/24',
        'nft add table ip peermasq',
      ],
      'iptables-legacy': [
        'iptables-legacy -t nat -D POSTROUTING 1',
        'iptables-legacy -t nat -F PEERMASQ',
        'ipset del "$(ipset list -n | grep peermasq)" 10.100.7.0/24',
      ],
    }[backend];

    test.each([...ours, 'ip rule add priority 1100 fwmark 0x1000/0x1000 lookup main'])(
      'notices and repairs: %s',
      async (command) => {
        await prove(many);
        await sh(network.node, command);
        expect(await repair()).toMatchObject({ result: 'applied', proven: true, isFull: true });
        expect(await network.sourceSeen()).toBe('10.209.0.2');
      },
    );

    test.each([
      'iptables-nft -t raw -A PREROUTING -d 10.193.0.0/16 -j NOTRACK',
      'nft "table ip one { chain c { type filter hook prerouting priority raw; notrack; }; }"',
      'ip rule add priority 999 from 10.132.0.0/16 ipproto tcp lookup main',
      'ip route del default',
      'echo 0 >/proc/sys/net/ipv4/ip_forward',
      'tc qdisc add dev eth0 clsact; ip -6 rule add priority 999 fwmark 7 ipproto tcp lookup main',
    ])('notices what it cannot repair: %s', async (command) => {
      await prove(backendVpc());
      await sh(network.node, command);
      const report = await repair();
      expect(report).toMatchObject({ result: 'unchanged', isFull: true });
      expect(report.proven || command.startsWith('tc')).toBe(command.startsWith('tc'));
      await sh(network.node, 'ip -6 rule del priority 999 2>/dev/null || :');
    });

    test.each([
      ['an interface appears', 'ip link add veth9 type veth'],
      ['a chain of another program appears', 'nft add table inet other'],
    ])('checks everything if %s', async (_, command) => {
      await prove(backendVpc());
      await sh(network.node, command);
      expect(await repair()).toMatchObject({ proven: true, isFull: true });
      expect(await repair()).toMatchObject({ proven: true, isFull: false });
    });

    test('checks everything if the stored rule set, the program or a tool changed', async () => {
      await prove(backendVpc());
      writeFileSync(kept('ruleset'), backendVpc(101));
      expect(await repair()).toMatchObject({ generation: 101, isFull: true });
      network.hide('conntrack');
      expect(await repair()).toMatchObject({ isFull: true });

      const copy = join(network.node.folder, 'copy.sh');
      copyFileSync(program, copy);
      const runCopy = () =>
        network.node.run(['bash', copy, 'repair'], {
          env: { PEERMASQ_DIR: kept(''), PEERMASQ_BACKEND: backend, PEERMASQ_PERSIST: '0' },
        });
      expect(await runCopy()).not.toContain('unchanged since');
      expect(await runCopy()).toContain('unchanged since');
      appendFileSync(copy, '\n');
      expect(await runCopy()).not.toContain('unchanged since');
    });

    test.each([
      ['its time is over', (text: string) => text.replace(/^(\S{36}) \d+$/m, '$1 1')],
      ['it is from another boot', (text: string) => text.replace(/^\S{36} (\d+)$/m, `${'0'.repeat(36)} $1`)],
      ['it is damaged', (text: string) => text.slice(0, -3)],
      ['it is empty', () => ''],
    ])('checks everything if there is a stored proof, but %s', async (_, change) => {
      await prove(backendVpc());
      writeFileSync(kept('proof'), change(readFileSync(kept('proof'), 'utf8')));
      expect(await repair()).toMatchObject({ proven: true, isFull: true });
      expect(await repair()).toMatchObject({ proven: true, isFull: false });
    });

    test('checks everything if the stored proof belongs to another user', async () => {
      await prove(backendVpc());
      await sh(network.node, `chown 1 '${kept('proof')}'`);
      expect(await repair()).toMatchObject({ isFull: true });
    });

    test('checks everything after the node was not proven', async () => {
      await prove(backendVpc());
      await sh(network.node, 'ip route del default');
      expect(await repair()).toMatchObject({ proven: false, isFull: true });
      await sh(network.node, 'ip route add default via 10.209.0.1');
      expect(await repair()).toMatchObject({ proven: true, isFull: true });
    });

    test('removes the proof with everything else', async () => {
      await prove(backendVpc());
      expect(await network.peermasq(['remove'])).toMatchObject({ result: 'removed' });
      expect(await sh(network.node, `ls -a '${network.node.folder}'`)).not.toContain('kept');
    });
  });
});
