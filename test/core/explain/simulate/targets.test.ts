import { describe, expect, test } from '@jest/globals';
import {
  explainDump,
  iptablesTable,
  natTable,
  network,
  nftRule,
  nftBaseChain,
  nftRuleset,
  payload,
  type NftObject,
} from '../dump-builder';

const explainNat = (...rules: readonly string[]) => explainDump(network + natTable(...rules));

describe('an iptables target in a simulated rule:', () => {
  test.each([
    ['jump returns', ['-A POSTROUTING -j A', '-A POSTROUTING -j MASQUERADE', '-A A -j RETURN'], true],
    [
      'goto does not return',
      ['-A POSTROUTING -j A', '-A A -g B', '-A A -j MASQUERADE', '-A B -j LOG'],
      false,
    ],
    [
      'ACCEPT ends the table',
      ['-A POSTROUTING -j A', '-A POSTROUTING -j MASQUERADE', '-A A -j ACCEPT'],
      false,
    ],
    ['LOG continues', ['-A POSTROUTING -j LOG', '-A POSTROUTING -j MASQUERADE'], true],
    [
      'MARK is visible to later rules',
      ['-A POSTROUTING -j MARK --set-xmark 0x5/0x7', '-A POSTROUTING -m mark --mark 0x4/0x6 -j MASQUERADE'],
      true,
    ],
    [
      'an unsupported extension makes the result unknown',
      ['-A POSTROUTING -j FANCY --x', '-A POSTROUTING -j MASQUERADE'],
      'unknown',
    ],
  ] as const)('%s', (_, rules, expected) => {
    expect(explainNat(...rules).masqueraded).toBe(expected);
  });

  test('SNAT to a range may use any address in the range', () => {
    expect(explainNat('-A POSTROUTING -j SNAT --to-source 198.51.100.1-198.51.100.2')).toMatchObject({
      source: null,
      sources: ['198.51.100.1', '198.51.100.2'],
    });
  });
});

const dnat = '-j DNAT --to-destination 10.193.0.4:5432';
test.each([
  {
    rule: `-d 10.193.0.9/32 ${dnat}`,
    result: 'does not match',
    destinations: [{ address: '10.193.0.3', port: 443 }],
    isRedirected: false,
  },
  {
    rule: dnat,
    result: 'matches',
    destinations: [{ address: '10.193.0.4', port: 5432 }],
    isRedirected: true,
  },
  {
    rule: `-m statistic --mode random --probability 0.5 ${dnat}`,
    result: 'is undecided',
    destinations: [
      { address: '10.193.0.4', port: 5432 },
      { address: '10.193.0.3', port: 443 },
    ],
    isRedirected: true,
  },
])('the possible destinations are listed if a DNAT rule $result', ({ rule, destinations, isRedirected }) => {
  const explained = explainNat(`-A PREROUTING ${rule}`, '-A POSTROUTING -j MASQUERADE');
  expect(explained.redirectedBy).toEqual(isRedirected ? [`-A PREROUTING ${rule}`] : []);
  expect(explained.destinations).toHaveLength(destinations.length);
  expect(explained.destinations).toEqual(expect.arrayContaining(destinations));
});

test('an unsupported translation makes the destination unknown', () => {
  const { destinations } = explainNat(
    '-A PREROUTING -j NETMAP --to 10.193.0.0/24',
    '-A POSTROUTING -j MASQUERADE',
  );
  expect(destinations).toContainEqual({ address: null, port: null });
});

describe('an nft statement that writes into the packet', () => {
  const mangle = (key: NftObject, value: unknown) => ({ mangle: { key, value } });
  const explainMangle = (hook: string, prio: number, statement: NftObject) =>
    explainDump(
      network +
        iptablesTable('nat', '-A POSTROUTING -d 10.0.0.0/8 -j MASQUERADE') +
        nftRuleset(
          { table: { family: 'ip', name: 'a' } },
          nftBaseChain('ip', 'a', { type: 'filter', hook, prio }),
          nftRule('ip', 'a', statement),
        ),
    );

  test.each([
    {
      text: 'ip daddr set 10.0.3.21',
      hook: 'prerouting',
      prio: -150,
      statement: mangle(payload('ip', 'daddr'), '10.0.3.21'),
    },
    {
      text: 'ip saddr set 10.209.0.77',
      hook: 'postrouting',
      prio: 300,
      statement: mangle(payload('ip', 'saddr'), '10.209.0.77'),
    },
    { text: 'tcp dport set 80', hook: 'forward', prio: 0, statement: mangle(payload('tcp', 'dport'), 80) },
    { text: 'ip ttl set 1', hook: 'prerouting', prio: 0, statement: mangle(payload('ip', 'ttl'), 1) },
  ])('may drop the packet and makes its source unknown: $text', ({ text, hook, prio, statement }) => {
    const explained = explainMangle(hook, prio, statement);
    expect(explained.source).toBeNull();
    expect(explained.reason).toContain(`It may also be dropped by post rule 1 (nft, table ip a): ${text}.`);
    expect(explained.path.map((step) => step.text)).toContain(text);
  });

  test.each([
    ['meta mark set 5', mangle({ meta: { key: 'mark' } }, 5)],
    ['ip dscp set cs1', mangle(payload('ip', 'dscp'), 'cs1')],
  ])('does not change the source: %s', (text, statement) => {
    const explained = explainMangle('prerouting', 0, statement);
    expect(explained).toMatchObject({ masqueraded: true, source: '10.209.0.2' });
    expect(explained.reason).not.toContain('dropped');
    expect(explained.path[0]?.text).toBe(text);
  });
});
