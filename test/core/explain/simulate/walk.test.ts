import { describe, expect, test } from '@jest/globals';
import {
  explainDump,
  iptablesTable,
  natTable,
  network,
  nftBaseChain,
  nftMasquerade,
  nftMatch,
  nftRule,
  nftRuleset,
  payload,
  type NftObject,
} from '../dump-builder';

const masqueradePrivate = iptablesTable('nat', '-A POSTROUTING -d 10.0.0.0/8 -j MASQUERADE');

describe('chains with the same priority', () => {
  const chains = (count: number, first: NftObject, others: NftObject) =>
    nftRuleset(
      ...Array.from({ length: count }, (_, index) => `t${index}`).flatMap((name, index) => [
        { table: { family: 'ip', name } },
        nftBaseChain('ip', name),
        nftRule('ip', name, index === 0 ? first : others),
      ]),
    );
  const snat = { snat: { addr: '198.51.100.7' } };

  test('may run in either order if two of them translate addresses', () => {
    const { masqueraded, sources } = explainDump(network + chains(2, nftMasquerade, snat));
    expect([masqueraded, [...sources].sort()]).toEqual([true, ['10.209.0.2', '198.51.100.7']]);
  });

  test('do not change the result if all but one of them accept every packet', () => {
    expect(explainDump(network + chains(100, nftMasquerade, { accept: null })).masqueraded).toBe(true);
  });

  test('make the result unknown, within two seconds, if too many of them translate addresses', () => {
    const began = process.cpuUsage();
    const { masqueraded } = explainDump(network + chains(100, nftMasquerade, snat));
    const { user, system } = process.cpuUsage(began);
    expect(masqueraded).toBe('unknown');
    expect((user + system) / 1000).toBeLessThan(2000);
  });
});

test.each([
  ['before nat', 99, true],
  ['at the priority of nat', 100, 'unknown'],
  ['after nat', 101, false],
] as const)(
  'when a chain marks packets %s (at priority %i), and a rule in nat matches the mark, the packet is masqueraded: %s',
  (_, prio, expected) => {
    const mark = { meta: { key: 'mark' } };
    const dump = nftRuleset(
      { table: { family: 'ip', name: 'a' } },
      nftBaseChain('ip', 'a', { type: 'filter', prio }),
      nftRule('ip', 'a', { mangle: { key: mark, value: 1 } }),
      { table: { family: 'ip', name: 'b' } },
      nftBaseChain('ip', 'b'),
      nftRule('ip', 'b', nftMatch(mark, 1), nftMasquerade),
    );
    expect(explainDump(network + dump).masqueraded).toBe(expected);
  },
);

test('table mangle of iptables runs before table nat', () => {
  const mangle = iptablesTable('mangle', '-A PREROUTING -j MARK --set-mark 0x1');
  const nat = natTable('-A PREROUTING -m mark --mark 0x1 -j DNAT --to-destination 10.193.0.4');
  expect(explainDump(network + nat + mangle).destinations).toEqual([{ address: '10.193.0.4', port: 443 }]);
});

test.each([
  ['the translated address', '10.209.0.2', 'dropped'],
  ["the pod's address", '10.132.0.10', 'masqueraded'],
])('when a chain after nat drops packets from %s (%s), the packet is %s', (_, saddr, cause) => {
  const filter = nftRuleset(
    { table: { family: 'ip', name: 'own' } },
    nftBaseChain('ip', 'own', { type: 'filter', prio: 300 }),
    nftRule('ip', 'own', nftMatch(payload('ip', 'saddr'), saddr), { drop: null }),
  );
  expect(explainDump(network + masqueradePrivate + filter).cause).toBe(cause);
});

describe('a netdev or bridge chain', () => {
  const linkLayerDump = (family: string, options: NftObject, ...expr: readonly NftObject[]) => {
    const rules = expr.length > 0 ? [nftRule(family, 'nat', ...expr)] : [];
    const chain = nftBaseChain(family, 'nat', { type: 'filter', prio: 0, ...options });
    return network + masqueradePrivate + nftRuleset({ table: { family, name: 'nat' } }, chain, ...rules);
  };
  const drop = { drop: null };
  const fromAddress = (address: string) => nftMatch(payload('ip', 'saddr'), address);
  const fromBridgePort = nftMatch({ meta: { key: 'iifname' } }, 'vethpod');
  const podIngress = { hook: 'ingress', dev: 'vethpod' };

  test.each([
    [
      'a netdev chain at a device’s ingress',
      linkLayerDump('netdev', podIngress, fromAddress('10.132.0.10'), drop),
    ],
    [
      'an inet chain at a device’s ingress',
      linkLayerDump('inet', podIngress, fromAddress('10.132.0.10'), drop),
    ],
    ['a netdev chain at a device’s egress', linkLayerDump('netdev', { hook: 'egress', dev: 'eth0' }, drop)],
    [
      'a netdev chain with policy drop',
      linkLayerDump('netdev', { hook: 'egress', dev: 'eth0', policy: 'drop' }),
    ],
    ['a bridge chain for one bridge port', linkLayerDump('bridge', { hook: 'input' }, fromBridgePort, drop)],
  ])('may drop the packet: %s', (_, dump) => {
    const { masqueraded, reason, path } = explainDump(dump);
    expect(masqueraded).toBe(true);
    expect(reason).toMatch(/may also be dropped by .*drop/);
    expect(path).toContainEqual(expect.objectContaining({ result: 'unknown' }));
  });

  test.each([
    ['it drops only other packets', linkLayerDump('netdev', podIngress, fromAddress('10.132.0.11'), drop)],
    ['it only counts packets', linkLayerDump('netdev', podIngress, { counter: { packets: 0, bytes: 0 } })],
    ['it sees only bridged packets', linkLayerDump('bridge', { hook: 'forward' }, drop)],
    ['it accepts', linkLayerDump('bridge', { hook: 'input' }, fromBridgePort, { accept: null })],
  ])('does not drop the packet if %s', (_, dump) => {
    expect(explainDump(dump).reason).not.toContain('dropped');
  });
});
