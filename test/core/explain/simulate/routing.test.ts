import { expect, test } from '@jest/globals';
import { explainDump, iptablesTable, network } from '../dump-builder';

const defaultRules =
  '0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n';
const throughEth0 = iptablesTable('nat', '-A POSTROUTING -o eth0 -j MASQUERADE');

test.each([
  ['only the default rules', '', true],
  ['a rule for every packet', '600:\tfrom all lookup 7\n', 'unknown'],
  ['a rule for the pod', '1536:\tfrom 10.132.0.10 lookup 2\n', 'unknown'],
  ['a rule for another pod', '1536:\tfrom 10.132.0.11 lookup 2\n', true],
  ['a rule for other destinations', '600:\tfrom all to 192.0.2.0/24 lookup 2\n', true],
  ['a rule for a mark that the packet lacks', '9:\tfrom all fwmark 0x200/0xf00 lookup 2004\n', true],
  ['a rule for a mark that the packet has', '9:\tfrom all fwmark 0/0xf00 lookup 2004\n', 'unknown'],
  ['a negated rule', '600:\tnot from 10.0.0.0/8 lookup 7\n', 'unknown'],
  ['a rule that prohibits the packet', '600:\tfrom all prohibit\n', 'unknown'],
  ['a rule that looks up table main', '512:\tfrom all to 10.132.0.10 lookup main\n', true],
] as const)(
  'the outgoing interface is found, or unknown, with these policy routing rules: %s',
  (_, rules, expected) => {
    expect(explainDump(network + defaultRules + rules + throughEth0).masqueraded).toBe(expected);
  },
);

test('IPv6 routing rules do not affect IPv4', () => {
  const ipv6Rules = '# peermasq: ip -6 rule\n600:\tfrom all lookup 7\n';
  const dump = `${network}${ipv6Rules}# peermasq: iptables-nft-save\n${throughEth0}`;
  expect(explainDump(dump).masqueraded).toBe(true);
});

test('a blackhole route drops the packet', () => {
  const dump = `${network}blackhole 10.193.0.0/16\n${throughEth0}`;
  expect(explainDump(dump)).toMatchObject({
    cause: 'dropped',
    reason: 'Dropped on the node by a route of type blackhole.',
  });
});
