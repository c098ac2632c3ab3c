import { describe, expect, test } from '@jest/globals';
import { IpParser } from '../../../../shared/core/explain/parse/ip';
import { parseCommands } from '../../../../shared/core/explain/parse/command';
import { parseIpCommand } from '../../../../shared/core/explain/parse/ip/command';
import { formatAddress } from '../../../../shared/core/explain/ranges';
import { explainDump, iptablesTable } from '../dump-builder';

/** Parses sections. Each starts with a line `$ COMMAND`. */
function parse(text: string) {
  const parser = new IpParser();
  for (const [index, line] of text.split('\n').entries()) {
    if (line.startsWith('$ '))
      parser.start(parseCommands(line.slice(2), { line: index + 1, isMarker: true }));
    else if (line !== '')
      expect({ line, isParsed: parser.line({ text: line, number: index + 1 }) }).toEqual({
        line,
        isParsed: true,
      });
  }
  return parser.finish();
}

describe('addresses are read from', () => {
  const expected = ['lo 127.0.0.1/8', 'ens5 192.168.0.174/22', 'ens5 fe80::1/64', 'vlan.eth.1 10.0.0.7/32'];
  const addressesOf = (text: string) =>
    parse(text).addresses.map(
      ({ device, family, address, prefix }) => `${device} ${formatAddress(family, address)}/${prefix}`,
    );

  test('ip addr', () => {
    const text = `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
2: ens5: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 9001 qdisc mq master br0 state UP group default qlen 1000
    link/ether 02:00:00:00:53:01 brd ff:ff:ff:ff:ff:ff link-netnsid 0
    altname enp0s5
    inet 192.168.0.174/22 metric 512 brd 192.168.3.255 scope global dynamic ens5
       valid_lft 2932sec preferred_lft 2932sec
    inet6 fe80::1/64 scope link
       valid_lft forever preferred_lft forever
7: vlan.eth.1@eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 9001 qdisc noqueue state UP group default
    inet 10.0.0.7/32 scope global vlan.eth.1`;
    expect(addressesOf(text)).toEqual(expected);
    expect([...parse(text).masters]).toEqual([
      ['lo', undefined],
      ['ens5', 'br0'],
      ['vlan.eth.1', undefined],
    ]);
  });

  test('ip -o addr', () => {
    expect(
      addressesOf(`1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
2: ens5    inet 192.168.0.174/22 brd 192.168.3.255 scope global dynamic ens5\\       valid_lft 2932sec preferred_lft 2932sec
2: ens5    inet6 fe80::1/64 scope link \\       valid_lft forever preferred_lft forever
7: vlan.eth.1    inet 10.0.0.7/32 scope global vlan.eth.1`),
    ).toEqual(expected);
  });

  test('lines of ip addr without the interface, if they are labelled', () => {
    expect(
      addressesOf(`    inet 192.168.0.174/22 brd 192.168.3.255 scope global dynamic ens5
    inet 192.168.0.175/22 scope global secondary ens5:1
    inet6 fd00::1/64 scope global dynamic`),
    ).toEqual(['ens5 192.168.0.174/22', 'ens5 192.168.0.175/22', ' fd00::1/64']);
  });
});

test('the source is unknown if the dump does not show the interface of an address', () => {
  const nat = iptablesTable('nat', '-A POSTROUTING -j MASQUERADE');
  const addresses =
    '    inet6 fd00:209::2/64 scope global dynamic\n2: eth1    inet6 fd00:192::2/64 scope global\n';
  const dump = `# peermasq: ip6tables-nft-save\n${nat}${addresses}default dev eth0 metric 1024 pref medium\n`;
  expect(explainDump(dump, 'fd00:132::a', 'fd00:193::3')).toMatchObject({ masqueraded: true, source: null });
});

describe('the table of a route is', () => {
  const tablesOf = (text: string) =>
    parse(text).routes.map(({ family, table, type, nextHops }) =>
      [family, table, type, ...nextHops.map(({ device }) => device)].join(' '),
    );

  test.each([
    ['main', 'ip route', '4 main'],
    ['main, by its number', 'ip route show table 254', '4 main'],
    ['the table in the command', 'ip r ls table 2', '4 2'],
    ['the table in the command for IPv6', 'sudo /sbin/ip -6 route list table 2', '6 2'],
    ['main if the command is another', 'journalctl', '4 main'],
  ])('%s', (_, command, expected) => {
    expect(tablesOf(`$ ${command}\ndefault dev tun0 scope link\n`)).toEqual([`${expected} unicast tun0`]);
  });

  test('unknown if several commands print different tables', () => {
    expect(tablesOf('$ ip route; ip route show table 2\ndefault dev tun0 scope link\n')).toEqual([
      '4 ? unicast tun0',
    ]);
  });

  test('in the line, if the command prints every table', () => {
    expect(
      tablesOf(`$ ip route show table all
default via 10.210.0.1 dev eth1 table 2
default via 10.209.0.1 dev eth0 proto dhcp metric 100
unreachable 10.9.0.0/16 table 3
local 10.209.0.2 dev eth0 table local proto kernel scope host src 10.209.0.2
broadcast 10.209.0.255 dev eth0 table 255 proto kernel scope link src 10.209.0.2
default via inet6 fe80::1 dev eth0 table 4
default dev tun0 table 5 metric 1024 pref medium
default via fe80::1 dev eth0 table 6 proto ra metric 1024 pref medium
anycast fe80:: dev eth0 table local proto kernel metric 0 pref medium
multicast ff00::/8 dev eth0 table local proto kernel metric 256 pref medium`),
    ).toEqual([
      '4 2 unicast eth1',
      '4 main unicast eth0',
      '4 3 unreachable',
      '4 local local eth0',
      '4 local broadcast eth0',
      '4 4 unicast eth0',
      '6 5 unicast tun0',
      '6 6 unicast eth0',
      '6 local anycast eth0',
      '6 local multicast eth0',
    ]);
  });

  test('the same for the next hops on other lines, and on the same line with ip -o', () => {
    const hops = ['nexthop via 10.0.0.1 dev eth0 weight 1', 'nexthop via 10.1.0.1 dev eth1 weight 2'];
    const expected = ['4 main unicast eth0 eth1'];
    expect(tablesOf(`$ ip route\ndefault proto static\n\t${hops.join('\n\t')}`)).toEqual(expected);
    expect(tablesOf(`$ ip -o route\ndefault proto static \\\t${hops.join(' \\\t')}`)).toEqual(expected);
  });
});

describe('a table is complete', () => {
  const completeAfter = (command: string) => [...parse(`$ ${command}\n`).completeRoutingTables];

  test.each([
    ['ip route', ['4 main']],
    ['ip -4 r s', ['4 main']],
    ['ip -6 route show', ['6 main']],
    ['ip -f inet6 route show table 2', ['6 2']],
    ['ip route show table all', ['4 *', '6 *']],
    ['ip -4 route show table all', ['4 *']],
    ['ip -6 route show table all', ['6 *']],
    ['ip -d -4 route show table 0', ['4 *']],
    ['ip route show dev eth0', []],
    ['ip route show table all dev eth0', []],
    ['ip route | grep default', []],
    ['ip route show table all failed', []],
    ['ip rule', []],
  ])('after the output of %s', (command, expected) => {
    expect(completeAfter(command)).toEqual(expected);
  });
});

test.each([
  ['ip a', { object: 'addr' }],
  ['ip -br addr show', { object: 'addr' }],
  ['sudo ip ru', { object: 'rule', family: 4 }],
  ['/usr/sbin/ip -6 rule list', { object: 'rule', family: 6 }],
  ['nsenter -t 1 -n ip -6 ro', { object: 'route', family: 6 }],
  ['ip link', undefined],
  ['ip neigh', undefined],
  ['gzip addr', undefined],
])('the command %j is recognized', (text, expected) => {
  const [command] = parseCommands(text, { line: 1, isMarker: false });
  if (!command) throw new Error('no command');
  const parsed = parseIpCommand(command);
  if (expected === undefined) expect(parsed).toBeUndefined();
  else expect(parsed).toMatchObject(expected);
});

describe('routing rules belong to', () => {
  const whole4 = '0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n';
  const whole6 = '0:\tfrom all lookup local\n32766:\tfrom all lookup main\n';
  const familiesOf = (text: string) =>
    parse(text).routingRules.map(({ family, priority }) => `${priority} IPv${family}`);

  test.each([
    ['IPv4, without a command', whole4, ['0 IPv4', '32766 IPv4', '32767 IPv4']],
    ['the family in the command', `$ ip -6 rule\n${whole6}`, ['0 IPv6', '32766 IPv6']],
    [
      'the family of an address in the listing',
      '9:\tfrom all lookup 5\n10:\tfrom fd00::/64 lookup 5',
      ['9 IPv6', '10 IPv6'],
    ],
    [
      'IPv6, in a second listing without table default',
      whole4 + whole6,
      ['0 IPv4', '0 IPv6', '32766 IPv4', '32766 IPv6', '32767 IPv4'],
    ],
    [
      'IPv4, in a fragment that follows the listing',
      `${whole4}9:\tfrom all lookup 5`,
      ['0 IPv4', '9 IPv4', '32766 IPv4', '32767 IPv4'],
    ],
  ])('%s', (_, text, expected) => {
    expect(familiesOf(text)).toEqual(expected);
  });
});
