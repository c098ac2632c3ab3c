import { describe, expect, test } from '@jest/globals';
import {
  explainDump,
  ipv6Endpoints,
  iptablesTable,
  natTable,
  network,
  nftBaseChain,
  nftMasquerade,
  nftMatch,
  nftRule,
  nftRuleset,
} from '../dump-builder';
import { certain, matching, negate, sets, undecidable } from './match-lists';

const isMasqueraded = (match: string) =>
  explainDump(network + sets + natTable(`-A POSTROUTING ${match} -j MASQUERADE`)).masqueraded;

describe('an iptables match', () => {
  test.each([...matching, certain])('is satisfied: %s', (match) => {
    expect(isMasqueraded(match)).toBe(true);
  });

  test.each(matching)('is not satisfied when negated: %s', (match) => {
    expect(isMasqueraded(negate(match))).toBe(false);
  });

  test.each(undecidable)('cannot be decided: %s', (match) => {
    expect(isMasqueraded(match)).toBe('unknown');
  });
});

test('an IPv6 address of the node is LOCAL but not UNICAST in nft, and both LOCAL and UNICAST in iptables', () => {
  const own = 'fd00:209::2';
  const peer = 'fd00:193::3';
  const isUnicast = nftMatch({ fib: { result: 'type', flags: ['saddr'] } }, 'unicast');
  const nft = nftRuleset(
    { table: { family: 'ip6', name: 'own' } },
    nftBaseChain('ip6', 'own'),
    nftRule('ip6', 'own', isUnicast, nftMasquerade),
  );
  const rule = '-A POSTROUTING -m addrtype --src-type UNICAST -j MASQUERADE';
  const iptables = `# peermasq: ip6tables-nft-save\n${iptablesTable('nat', rule)}`;
  expect(explainDump(network + nft, own, peer).masqueraded).toBe(false);
  expect(explainDump(network + nft, ...ipv6Endpoints).masqueraded).not.toBe(false);
  expect(explainDump(network + iptables, own, peer).masqueraded).toBe(true);
});
