import { expect, test } from '@jest/globals';
import { explain } from '../../../../shared/core/explain/explain';
import { parseSnapshot } from '../../../../shared/core/explain/parse/snapshot';
import type { Packet } from '../../../../shared/core/explain/simulate/packet';
import { natTable, network, packet } from '../dump-builder';

interface SetCase {
  /** The type and options, as in `create NAME TYPE …`. */
  readonly type: string;
  readonly entries: readonly string[];
  readonly sides: string;
}

/** Returns whether a rule that matches the set masquerades the packet. */
function isMasqueraded({ type, entries, sides }: SetCase, sent: Packet = packet): boolean | 'unknown' {
  const lines = [`create s ${type}`, ...entries.map((entry) => `add s ${entry}`), ''];
  const rule = `-A POSTROUTING -m set --match-set s ${sides} -j MASQUERADE`;
  return explain(parseSnapshot(network + lines.join('\n') + natTable(rule)), sent, { assumeComplete: true })
    .masqueraded;
}

const hashNet = { type: 'hash:net family inet', sides: 'dst' };
const hashIpPort = { type: 'hash:ip,port family inet', sides: 'dst,dst' };
const hashNetIface = { type: 'hash:net,iface family inet', sides: 'dst,dst' };

test.each<[string, SetCase, boolean | 'unknown']>([
  ['an address', { type: 'hash:ip family inet', entries: ['10.193.0.3'], sides: 'dst' }, true],
  [
    'a range of addresses',
    { type: 'bitmap:ip range 10.193.0.0-10.193.0.255', entries: ['10.193.0.1-10.193.0.9'], sides: 'dst' },
    true,
  ],
  [
    'an address, and a netmask',
    { type: 'hash:ip family inet netmask 24', entries: ['10.193.0.0'], sides: 'dst' },
    true,
  ],
  [
    'addresses of a different family',
    { type: 'hash:net family inet6', entries: ['fd00::/8'], sides: 'dst' },
    false,
  ],
  ['a network', { ...hashNet, entries: ['10.193.0.0/16'] }, true],
  ['an exception', { ...hashNet, entries: ['10.0.0.0/8', '10.193.0.0/16 nomatch'] }, false],
  [
    'a network inside an exception',
    { ...hashNet, entries: ['10.0.0.0/8', '10.193.0.0/16 nomatch', '10.193.0.0/24'] },
    true,
  ],
  ['a port of any protocol', { type: 'bitmap:port range 0-65535', entries: ['440-450'], sides: 'dst' }, true],
  ['a port of the packet’s protocol', { ...hashIpPort, entries: ['10.193.0.3,tcp:443'] }, true],
  ['a port of another protocol', { ...hashIpPort, entries: ['10.193.0.3,udp:443'] }, false],
  [
    'fewer fields in the match than in the set',
    { ...hashIpPort, entries: ['10.193.0.3,tcp:443'], sides: 'dst' },
    'unknown',
  ],
  ['the outgoing interface', { ...hashNetIface, entries: ['10.193.0.0/16,eth0'] }, true],
  ['another interface', { ...hashNetIface, entries: ['10.193.0.0/16,eth1'] }, false],
  ['a bridge port', { ...hashNetIface, entries: ['10.193.0.0/16,physdev:eth0'] }, 'unknown'],
  [
    'a MAC address',
    { type: 'hash:ip,mac family inet', entries: ['10.132.0.10,01:02:03:04:05:06'], sides: 'src,src' },
    'unknown',
  ],
  [
    'pairs of networks and an exception',
    {
      type: 'hash:net,net family inet',
      entries: ['10.132.0.0/16,10.0.0.0/8', '10.132.0.0/24,10.193.0.0/16 nomatch'],
      sides: 'src,dst',
    },
    'unknown',
  ],
])('a packet is matched against a set with %s', (_, set, expected) => {
  expect(isMasqueraded(set)).toBe(expected);
});

test('a match on a list of sets that contains itself is undecided', () => {
  const dump = 'create a list:set size 8\ncreate b list:set size 8\nadd a b\nadd b a\n';
  const rule = '-A POSTROUTING -m set --match-set a dst -j MASQUERADE';
  expect(
    explain(parseSnapshot(network + dump + natTable(rule)), packet, { assumeComplete: true }).masqueraded,
  ).toBe('unknown');
});

test('a match on an ICMP type in a set is undecided for ICMP, and fails for TCP', () => {
  const set = { ...hashIpPort, entries: ['10.193.0.3,icmp:echo-request'] };
  expect(isMasqueraded(set, { ...packet, protocol: 'icmp' })).toBe('unknown');
  expect(isMasqueraded(set)).toBe(false);
});
