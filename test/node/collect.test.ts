import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { collectFunctions } from '../../infra/join-node-program';
import { explain } from '../../shared/core/explain/explain';
import { parseSnapshot } from '../../shared/core/explain/parse/snapshot';
import { parseAddress } from '../../shared/core/model/cidr';
import { describeKernel } from '../lab/kernel';
import { missing, openNetwork, type Network } from './network';

const everyProgram = missing('iptables-nft') ?? missing('nft');

describeKernel('the script of peermasq collect', everyProgram, () => {
  let network: Network;
  let snapshotOfNode: string;
  beforeAll(async () => {
    network = await openNetwork('auto');
    const rules =
      '*nat\n-A POSTROUTING ! -d 10.0.0.0/8 -m set ! --match-set peers dst -j MASQUERADE\nCOMMIT\n';
    await network.node.run(['ipset', 'restore'], {
      stdin: 'create peers hash:net\nadd peers 192.0.2.0/24\n',
    });
    await network.node.run(['iptables-nft-restore'], { stdin: rules });
    await network.node.run(['ip', 'route', 'add', 'default', 'dev', 'eth0', 'table', '7']);
    await network.node.run(['ip', 'rule', 'add', 'pref', '90', 'fwmark', '0x9', 'lookup', '7']);
    snapshotOfNode = (await network.execute(['snapshot'])).stdout;
  });
  afterAll(() => network.lab.close());

  const script = (pod = '') => `${collectFunctions()}\ncollect_node '${pod}' </dev/null\n`;
  const collect = (shell: readonly string[], pod = '') => network.node.run(shell, { stdin: script(pod) });
  /** Leaves out the numbers that differ from one run to the next. */
  const stable = (text: string) =>
    text.replaceAll(/^# (Generated|Completed).*$/gm, '').replaceAll(/valid_lft.*|\[\d+:\d+\]/g, '');

  describe.each([
    ['dash', ['/usr/bin/dash']],
    ['busybox', ['/usr/bin/busybox', 'sh']],
  ])('run by %s', (_, shell) => {
    test('prints what the snapshot of the node program shows', async () => {
      const text = await collect(shell);
      expect(stable(snapshotOfNode)).toContain(stable(text).trimEnd());
    });

    test('prints everything that explain needs', async () => {
      const snapshot = parseSnapshot(await collect(shell));
      expect([...snapshot.sets.keys()]).toEqual(['peers']);
      expect(snapshot.warnings).toEqual([]);
      expect(snapshot.routingRules.some(({ priority }) => priority === 90)).toBe(true);
      expect(snapshot.completeRoutingTables).toEqual(new Set(['4 *', '6 *']));
      const packet = {
        protocol: 'tcp',
        sourcePort: 40_000,
        destinationPort: 443,
        isFromNode: false,
      } as const;
      const source = parseAddress('10.132.0.10');
      const to = (destination: string) =>
        explain(snapshot, { ...packet, source, destination: parseAddress(destination) });
      expect(to('203.0.113.7')).toMatchObject({ masqueraded: true, source: '10.209.0.2' });
      expect(to('192.0.2.7')).toMatchObject({ masqueraded: false });
    });

    test("prints the pod's connections only if it is given the pod", async () => {
      expect(await collect(shell)).not.toContain('conntrack');
      expect(await collect(shell, '10.132.0.10')).toContain(
        '# peermasq: conntrack -L -f ipv4 -s 10.132.0.10\n',
      );
    });

    test('needs only ip, and prints nothing about programs that are not installed', async () => {
      const folder = join(network.node.folder, 'few');
      mkdirSync(folder);
      const pathOf = (name: string) => execFileSync('which', [name], { encoding: 'utf8' }).trim();
      for (const name of ['ip', 'grep', 'ls', 'uname']) symlinkSync(pathOf(name), join(folder, name));
      const text = await network.node.run(['/usr/bin/env', `PATH=${folder}`, ...shell], { stdin: script() });
      rmSync(folder, { recursive: true });
      expect(text).toContain('# peermasq: ip -4 route show table all\n');
      expect(text).not.toMatch(/iptables-nft|nft list|failed/);
    });
  });

  test('quotes nothing in a way that only some shells understand', () => {
    expect(() =>
      execFileSync('shellcheck', ['-s', 'sh', '-'], { input: `#!/bin/sh\n${script()}` }),
    ).not.toThrow();
  });
});
