import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { describeKernel } from '../lab/kernel';
import { everyNeighbour } from './neighbours';
import { backendVpc, clear, missing, type Network, openNetwork, sh } from './network';

/** Rules that nft adds to a table of iptables-nft. iptables-nft then no longer prints the table. */
const nativeRules = {
  'in a chain of its own': 'table ip nat { chain x { meta mark & 1 == 1 masquerade; }; }',
  // Tailscale in nftables mode.
  'in a chain that POSTROUTING jumps to':
    'table ip nat { chain ts-postrouting { meta mark & 0xff0000 == 0x40000 counter masquerade; }; chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; counter jump ts-postrouting; }; }',
  'in POSTROUTING itself':
    'table ip nat { chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; meta mark & 1 == 1 masquerade; }; }',
};

describeKernel('with a native nft rule', missing('iptables-nft') ?? missing('nft'), () => {
  let network: Network;
  const nft = (...commands: string[]) => network.node.run(['nft', commands.join('; ')]);
  const rules = () => network.node.run(['nft', '-s', 'list', 'ruleset']);
  const jumps = async () => (await rules()).match(/jump PEERMASQ\b/g)?.length ?? 0;

  beforeAll(async () => {
    network = await openNetwork('iptables-nft');
  });
  afterEach(() => clear(network));
  afterAll(() => network.lab.close());

  describe.each(Object.entries(nativeRules))('%s', (_, native) => {
    test('our rules are applied once, repaired and removed', async () => {
      await network.node.run(['iptables-nft-restore', '--noflush'], { stdin: everyNeighbour });
      await nft(native);
      const before = await rules();

      expect(await network.apply(backendVpc())).toMatchObject({ result: 'applied', proven: true });
      expect(await network.sourceSeen()).toBe('10.209.0.2');
      for (let i = 0; i < 2; i++)
        expect(await network.peermasq(['repair'])).toMatchObject({ result: 'unchanged', proven: true });
      expect(await jumps()).toBe(1);
      expect(await network.peermasq(['status'])).toMatchObject({ proven: true, drift: [], rules: 2 });

      await sh(network.node, 'iptables-nft -t nat -A POSTROUTING -j PEERMASQ');
      expect(await network.peermasq(['repair'])).toMatchObject({ result: 'applied', proven: true });
      expect(await jumps()).toBe(1);

      expect(await network.peermasq(['remove'])).toMatchObject({ result: 'removed' });
      expect(await rules()).toBe(before);
    });
  });

  test('that was inserted before our jump, our jump becomes first again', async () => {
    await network.apply(backendVpc());
    await nft('insert rule ip nat POSTROUTING ip daddr 10.193.0.0/16 accept');
    expect(await network.sourceSeen()).toBe('dropped');
    expect(await network.peermasq(['status'])).toMatchObject({ proven: false, drift: ['jump not first'] });
    expect(await network.peermasq(['repair'])).toMatchObject({ result: 'applied', proven: true });
    expect(await jumps()).toBe(1);
    expect(await network.sourceSeen()).toBe('10.209.0.2');
  });

  test('in our chain, the chain is rewritten', async () => {
    await network.apply(backendVpc());
    await nft('insert rule ip nat PEERMASQ ip daddr 10.193.0.0/16 accept');
    expect(await network.peermasq(['status'])).toMatchObject({ proven: false, drift: ['chain differs'] });
    expect(await network.peermasq(['repair'])).toMatchObject({ result: 'applied', proven: true });
  });

  test('in POSTROUTING, remove deletes our chain even if nothing jumps to it', async () => {
    await network.apply(backendVpc());
    await sh(network.node, 'iptables-nft -t nat -D POSTROUTING 1');
    await nft(nativeRules['in POSTROUTING itself'], 'add rule ip nat PEERMASQ accept');
    expect(await network.peermasq(['remove'])).toMatchObject({ result: 'removed' });
    expect(await rules()).not.toContain('PEERMASQ');
  });

  test('in POSTROUTING, remove fails if neither iptables nor nft can read our jump', async () => {
    await network.apply(backendVpc());
    await nft(nativeRules['in POSTROUTING itself']);
    network.hide('nft');
    expect(await network.peermasq(['remove'])).toMatchObject({
      code: 3,
      result: 'failed',
      reason: 'chain POSTROUTING of table nat cannot be read',
    });
    expect(await network.peermasq(['status'])).toMatchObject({
      proven: false,
      drift: ['chain POSTROUTING of table nat cannot be read'],
    });
    expect(await network.sourceSeen()).toBe('10.209.0.2');
  });

  test('that keeps packets from being tracked in table raw, the rule set is not proven', async () => {
    const raw = 'table ip raw { chain PREROUTING { type filter hook prerouting priority raw; policy accept;';
    await nft(`${raw} ip daddr 10.193.0.0/16 notrack; }; }`);
    const report = await network.apply(backendVpc());
    expect(report).toMatchObject({ result: 'applied', proven: false });
    expect(report.reason).toContain('may keep packets of pods from being tracked');
    await nft('flush table ip raw', 'add rule ip raw PREROUTING ip daddr 10.9.0.0/16 counter');
    expect(await network.peermasq(['repair'])).toMatchObject({ result: 'unchanged', proven: true });
  });

  test('in several tables of its own, each table is read', async () => {
    const chain = 'chain c { type filter hook forward priority 10; counter; };';
    await nft(`table ip one { ${chain} }`, `table inet two { ${chain} }`, `table ip three { ${chain} }`);
    expect(await network.apply(backendVpc())).toMatchObject({ result: 'applied', proven: true });
    await nft('add rule ip one c notrack');
    expect(await network.peermasq(['repair'])).toMatchObject({ result: 'unchanged', proven: false });
  });

  test('that selects random ports, our rules also select random ports, and status names its chain', async () => {
    await nft(nativeRules['in a chain that POSTROUTING jumps to']);
    await nft('add rule ip nat ts-postrouting masquerade fully-random');
    await network.apply(backendVpc());
    expect(await network.node.run(['iptables-nft', '-t', 'nat', '-S', 'PEERMASQ'])).toContain(
      '--random-fully',
    );
    const { masqueraders } = await network.peermasq(['status']);
    expect(masqueraders).toContain('ts-postrouting');
  });

  test("in table mangle, the kubelet's hint chain is still found there", async () => {
    await sh(
      network.node,
      'iptables-legacy -t nat -A POSTROUTING -j RETURN; iptables-nft -t mangle -N KUBE-IPTABLES-HINT',
    );
    await nft('add chain ip mangle x', 'add rule ip mangle x meta mark & 1 == 1 accept');
    const report = await network.apply(backendVpc(), { PEERMASQ_BACKEND: 'auto' });
    expect(report).toMatchObject({ backend: 'iptables-nft', proven: true });
  });
});
