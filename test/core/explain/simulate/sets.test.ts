import { expect, test } from '@jest/globals';
import { explain } from '../../../../shared/core/explain/explain';
import { parseSnapshot } from '../../../../shared/core/explain/parse/snapshot';
import type { Packet } from '../../../../shared/core/explain/simulate/packet';
import { natTable, network, packet } from '../dump-builder';

/** Masquerades what the set `s` contains. */
const isMasqueraded = (create: string, entries: readonly string[], sides: string, sent: Packet = packet) => {
  const lines = [`create s ${create}`, ...entries.map((entry) => `add s ${entry}`), ''];
  const rule = `-A POSTROUTING -m set --match-set s ${sides} -j MASQUERADE`;
  return explain(parseSnapshot(network + lines.join('\n') + natTable(rule)), sent).masqueraded;
};

test.each([
  ['an address', 'hash:ip family inet', ['10.193.0.3'], 'dst', true],
  ['a range of addresses', 'bitmap:ip range 10.193.0.0-10.193.0.255', ['10.193.0.1-10.193.0.9'], 'dst', true],
  ['an address under a netmask', 'hash:ip family inet netmask 24', ['10.193.0.0'], 'dst', true],
  ['only addresses of the other family', 'hash:net family inet6', ['fd00::/8'], 'dst', false],
  ['a network', 'hash:net family inet', ['10.193.0.0/16'], 'dst', true],
  ['an exception', 'hash:net family inet', ['10.0.0.0/8', '10.193.0.0/16 nomatch'], 'dst', false],
  [
    'a network inside an exception',
    'hash:net family inet',
    ['10.0.0.0/8', '10.193.0.0/16 nomatch', '10.193.0.0/24'],
    'dst',
    true,
  ],
  ['a port of any protocol', 'bitmap:port range 0-65535', ['440-450'], 'dst', true],
  ['a port of the protocol', 'hash:ip,port family inet', ['10.193.0.3,tcp:443'], 'dst,dst', true],
  ['a port of another protocol', 'hash:ip,port family inet', ['10.193.0.3,udp:443'], 'dst,dst', false],
  ['the outgoing interface', 'hash:net,iface family inet', ['10.193.0.0/16,eth0'], 'dst,dst', true],
  ['another interface', 'hash:net,iface family inet', ['10.193.0.0/16,eth1'], 'dst,dst', false],
  ['a bridge port', 'hash:net,iface family inet', ['10.193.0.0/16,physdev:eth0'], 'dst,dst', 'unknown'],
  ['a MAC address', 'hash:ip,mac family inet', ['10.132.0.10,01:02:03:04:05:06'], 'src,src', 'unknown'],
  [
    'two networks and an exception',
    'hash:net,net family inet',
    ['10.132.0.0/16,10.0.0.0/8', '10.132.0.0/24,10.193.0.0/16 nomatch'],
    'src,dst',
    'unknown',
  ],
  [
    'more dimensions than the match has',
    'hash:ip,port family inet',
    ['10.193.0.3,tcp:443'],
    'dst',
    'unknown',
  ],
] as const)('a set with %s', (_, create, entries, sides, expected) => {
  expect(isMasqueraded(create, entries, sides)).toBe(expected);
});

test('a set that contains itself through lists is undecided', () => {
  const dump = 'create a list:set size 8\ncreate b list:set size 8\nadd a b\nadd b a\n';
  const rule = '-A POSTROUTING -m set --match-set a dst -j MASQUERADE';
  expect(explain(parseSnapshot(network + dump + natTable(rule)), packet).masqueraded).toBe('unknown');
});

test('an ICMP type of an entry is undecided for ICMP, and fails for TCP', () => {
  const entries = ['10.193.0.3,icmp:echo-request'];
  const ping: Packet = { ...packet, protocol: 'icmp' };
  expect(isMasqueraded('hash:ip,port family inet', entries, 'dst,dst', ping)).toBe('unknown');
  expect(isMasqueraded('hash:ip,port family inet', entries, 'dst,dst')).toBe(false);
});
