import { describe, expect, test } from '@jest/globals';
import { explain } from '../../../../shared/core/explain/explain';
import { parseSnapshot } from '../../../../shared/core/explain/parse/snapshot';
import { parseAddress } from '../../../../shared/core/model/cidr';
import { explainDump, iptablesTable, packet } from '../dump-builder';

const defaultRules =
  '0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n';
const addresses = `2: eth0    inet 10.209.0.2/16 scope global eth0
3: eth1    inet 192.168.50.2/24 scope global eth1
2: eth0    inet6 fd00:209::2/64 scope global
4: cbr0    inet 10.132.0.1/24 scope global cbr0
`;
const main = `# peermasq: ip route
default via 10.209.0.1 dev eth0
10.132.0.0/24 dev cbr0 proto kernel scope link src 10.132.0.1
10.209.0.0/16 dev eth0 proto kernel scope link src 10.209.0.2
`;
const table2 = '# peermasq: ip route show table 2\ndefault via 192.168.50.1 dev eth1\n';
const table3 = '# peermasq: ip route show table 3\n10.50.0.0/16 via 192.168.50.1 dev eth1\n';
const masquerade = iptablesTable('nat', '-A POSTROUTING -j MASQUERADE');
const primary = '10.209.0.2';
const secondary = '192.168.50.2';

interface Routing {
  /** Lines of `ip rule`, in addition to the default rules. */
  readonly rules: string;
  /** Sections with routes, in addition to table main. */
  readonly routes?: string;
  readonly tables?: string;
}

/** Returns a dump of a node with two uplinks, on which every packet is masqueraded. */
function dumpOf({ rules, routes = table2 + table3, tables = masquerade }: Routing): string {
  return `# peermasq: iptables-nft-save\n${tables}# peermasq: ip -o addr\n${addresses}${main}${routes}# peermasq: ip rule\n${defaultRules}${rules}`;
}

describe('the source is the address of the interface that policy routing selects:', () => {
  const cases: readonly (readonly [title: string, rules: string, expected: string, routes?: string])[] = [
    ['without other rules', '', primary],
    ['a rule for every packet', '600:\tfrom all lookup 2', secondary],
    ['a rule for the pod', '1536:\tfrom 10.132.0.10 lookup 2', secondary],
    ['a rule for another pod', '1536:\tfrom 10.132.0.11 lookup 2', primary],
    ['a rule for the destination', '600:\tfrom all to 10.193.0.0/16 lookup 2', secondary],
    ['a rule for other destinations', '600:\tfrom all to 192.0.2.0/24 lookup 2', primary],
    ['a rule that two selectors restrict', '600:\tfrom 10.132.0.10 to 192.0.2.0/24 lookup 2', primary],
    ['a mark that the packet lacks', '9:\tfrom all fwmark 0x200/0xf00 lookup 2', primary],
    ['a mask under which the packet has no mark', '9:\tfrom all fwmark 0/0xf00 lookup 2', secondary],
    ['a negated rule for the pod', '600:\tnot from 10.132.0.0/24 lookup 2', primary],
    ['a negated rule for another pod', '600:\tnot from 10.132.0.11 lookup 2', secondary],
    ['a negated rule for a mark', '600:\tnot from all fwmark 0xca6c lookup 2', secondary],
    ['the interface of the pod', '600:\tfrom all iif cbr0 lookup 2', secondary],
    ['another incoming interface', '600:\tfrom all iif vlan0a lookup 2', primary],
    ['an incoming interface that does not exist', '600:\tfrom all iif vlan0a [detached] lookup 2', primary],
    ['packets of the node itself', '600:\tfrom all iif lo lookup 2', primary],
    ['sockets that are bound to an interface', '600:\tfrom all oif eth1 lookup 2', primary],
    ['users of the node without root', '600:\tfrom all uidrange 1000-2000 lookup 2', primary],
    [
      'root, to whom the kernel attributes forwarded packets',
      '600:\tfrom all uidrange 0-1000 lookup 2',
      secondary,
    ],
    ['every user', '600:\tfrom all uidrange 0-4294967295 lookup 2', secondary],
    ['the protocol and the port', '600:\tfrom all ipproto tcp dport 443 lookup 2', secondary],
    ['another port', '600:\tfrom all ipproto tcp dport 80-90 lookup 2', primary],
    ['another protocol', '600:\tfrom all ipproto udp lookup 2', primary],
    ['a source port', '600:\tfrom all sport 40000 lookup 2', secondary],
    ['a table without a route to the destination', '600:\tfrom all lookup 3', primary],
    [
      'a table without routes, and then another',
      '600:\tfrom all lookup 3\n601:\tfrom all lookup 2',
      secondary,
    ],
    ['an empty table', '600:\tfrom all lookup 4', primary, `${table2}# peermasq: ip route show table 4\n`],
    ['main before the table', '512:\tfrom all lookup main\n600:\tfrom all lookup 2', primary],
    [
      'main without its default route',
      '512:\tfrom all lookup main suppress_prefixlength 0\n600:\tfrom all lookup 2',
      secondary,
    ],
    [
      'main with a route to the destination',
      '512:\tfrom all lookup main suppress_prefixlength 0\n600:\tfrom all lookup 2',
      primary,
      `${table2}# peermasq: ip route\n10.193.0.0/16 via 10.209.0.9 dev eth0\n`,
    ],
    [
      'a throw route',
      '600:\tfrom all lookup 5',
      primary,
      '# peermasq: ip route show table 5\ndefault via 192.168.50.1 dev eth1\nthrow 10.193.0.0/16\n',
    ],
    ['goto past a rule', '500:\tfrom all goto 700\n600:\tfrom all lookup 2\n700:\tfrom all nop', primary],
    [
      'goto to a rule',
      '500:\tfrom all goto 600\n550:\tfrom all prohibit\n600:\tfrom all lookup 2',
      secondary,
    ],
    ['goto without a target', '500:\tfrom all goto 501 [unresolved]\n600:\tfrom all lookup 2', secondary],
    ['a rule of another program', '600:\tfrom all lookup 2 proto static', secondary],
    ['rules in any order', '700:\tfrom all lookup main\n600:\tfrom all lookup 2', secondary],
    ['a table by the number of main', '600:\tfrom all lookup 254\n601:\tfrom all lookup 2', primary],
  ];
  test.each(cases.map(([title, rules, expected, routes]) => ({ title, rules, expected, routes })))(
    '$title',
    ({ rules, expected, routes = table2 + table3 }) => {
      const explained = explainDump(dumpOf({ rules, routes }));
      expect(explained).toMatchObject({ masqueraded: true, source: expected, mayBeDropped: false });
    },
  );

  test('the mark that a rule in PREROUTING sets', () => {
    const tables = [
      iptablesTable('mangle', '-A PREROUTING -i cbr0 -j MARK --set-xmark 0x200/0xf00'),
      masquerade,
    ].join('');
    const rules = '9:\tfrom all fwmark 0x200/0xf00 lookup 2';
    expect(explainDump(dumpOf({ tables, rules })).source).toBe(secondary);
  });

  test('one of several interfaces, if the selected route has several next hops', () => {
    const routes =
      '# peermasq: ip route show table 2\ndefault \n\tnexthop via 192.168.50.1 dev eth1 weight 1\n\tnexthop via 10.209.0.1 dev eth0 weight 1\n';
    const { source, sources } = explainDump(dumpOf({ rules: '600:\tfrom all lookup 2', routes }));
    expect(source).toBeNull();
    expect([...sources].sort()).toEqual([primary, secondary]);
  });

  test('one of two interfaces, if a route applies only to some types of service', () => {
    const routes =
      '# peermasq: ip route show table 2\n10.193.0.0/16 tos lowdelay via 10.209.0.1 dev eth0\ndefault via 192.168.50.1 dev eth1\n';
    const { sources } = explainDump(dumpOf({ rules: '600:\tfrom all lookup 2', routes }));
    expect([...sources].sort()).toEqual([primary, secondary]);
  });
});

describe('the source is unknown', () => {
  test.each([
    ['if the table is not in the dump', '600:\tfrom all lookup 7'],
    ['if a rule may match by type of service', '600:\tfrom all tos 0x10 lookup 2'],
    ['if a rule may match by tunnel', '600:\tfrom all tun_id 7 lookup 2'],
    ['if the interface may belong to a VRF', '1000:\tfrom all lookup [l3mdev-table]'],
    [
      'if routes may be suppressed by the group of their interface',
      '1:\tfrom all lookup main suppress_ifgroup 5\n2:\tfrom all lookup 2',
    ],
    ['if another program adds rules that are not known', '600:\tfrom all frobnicate'],
  ])('%s', (_, rules) => {
    expect(explainDump(dumpOf({ rules }))).toMatchObject({ masqueraded: true, source: null });
  });

  test('if the dump has routes of other tables, but no rules', () => {
    const dump = dumpOf({ rules: '' }).replace(/# peermasq: ip rule[^]*/, '');
    expect(explainDump(dump).source).toBeNull();
    expect(explainDump(dump.replace(table2 + table3, '')).source).toBe(primary);
  });

  test('which names the table that the dump lacks', () => {
    const tables = iptablesTable('nat', '-A POSTROUTING -o eth0 -j MASQUERADE');
    const { masqueraded, path } = explainDump(dumpOf({ tables, rules: '600:\tfrom all lookup 7' }));
    expect(masqueraded).toBe('unknown');
    expect(JSON.stringify(path)).toContain('routing table 7 (the output of `ip route show table 7`)');
  });
});

test('an interface without a master does not belong to a VRF', () => {
  const links =
    '# peermasq: ip addr\n4: cbr0: <BROADCAST,UP> mtu 1500 qdisc noqueue state UP group default\n';
  const dump = dumpOf({ rules: '1000:\tfrom all lookup [l3mdev-table]' });
  expect(explainDump(links + dump).source).toBe(primary);
  expect(explainDump(links.replace('qdisc', 'master vrf0 qdisc') + dump).source).toBeNull();
});

describe('the packet is dropped by', () => {
  test.each([
    ['a blackhole route', 'blackhole 10.193.0.0/16', 'route of type blackhole'],
    ['an unreachable route', 'unreachable 10.193.0.0/16', 'route of type unreachable'],
    ['a rule of type prohibit', '600:\tfrom 10.132.0.0/24 prohibit', 'ip rule 600'],
    ['a rule of type blackhole', '600:\tnot from all fwmark 0x1 blackhole', 'ip rule 600'],
    ['a rule of type unreachable', '600:\tfrom all to 10.193.0.0/16 unreachable', 'ip rule 600'],
  ])('%s', (_, line, reason) => {
    const isRule = line.startsWith('600:');
    const routes = `# peermasq: ip route\n${isRule ? '' : line}\n`;
    const explained = explainDump(dumpOf({ rules: isRule ? line : '', routes }));
    expect(explained.cause).toBe('dropped');
    expect(explained.reason).toContain(reason);
  });

  test('the lack of any route, if the dump shows every table', () => {
    const routes =
      '# peermasq: ip route show table all\n10.209.0.0/16 dev eth0 proto kernel scope link src 10.209.0.2\n';
    const dump = dumpOf({ rules: '', routes }).replace(main, '');
    expect(explainDump(dump)).toMatchObject({ cause: 'dropped' });
    expect(explainDump(dump.replace(' show table all', ''))).toMatchObject({
      masqueraded: true,
      source: null,
    });
  });
});

test('a local route of a table that a mark selects delivers the packet to the node', () => {
  const tables =
    iptablesTable('mangle', '-A PREROUTING -d 10.193.0.0/16 -j MARK --set-xmark 0x1/0xffffffff') + masquerade;
  const routes = '# peermasq: ip route show table 100\nlocal default dev lo scope host\n';
  const explained = explainDump(dumpOf({ tables, routes, rules: '100:\tfrom all fwmark 0x1 lookup 100' }));
  expect(explained.cause).toBe('stays-on-node');
});

describe('a pod with security groups (VPC CNI)', () => {
  const nodeRules =
    '10:\tfrom all iif vlan7c lookup 101\n10:\tfrom all iif vlan.eth.1 lookup 101\n20:\tfrom all lookup local\n';
  const table101 = `# peermasq: ip route show table 101
default via 10.209.0.1 dev vlan.eth.1
10.209.7.9 dev vlan7c scope link
10.209.0.1 dev vlan.eth.1 scope link
`;
  const dump = dumpOf({
    tables: iptablesTable(
      'nat',
      '-A POSTROUTING ! -d 10.209.0.0/16 ! -o vlan+ -j SNAT --to-source 10.209.0.2',
    ),
    rules: nodeRules,
    routes: table101,
  }).replace('0:\tfrom all lookup local\n', '');

  test('keeps its address, because its packets leave by the branch interface', () => {
    expect(explainDump(dump, '10.209.7.9')).toMatchObject({ masqueraded: false, source: '10.209.7.9' });
  });

  test('does not change how other pods leave', () => {
    expect(explainDump(dump)).toMatchObject({ masqueraded: true, source: primary });
  });

  test('has an unknown result if the table of the branch interface is not in the dump', () => {
    expect(explainDump(dump.replace(table101, ''), '10.209.7.9').masqueraded).toBe('unknown');
  });
});

test('IPv6 routing rules do not affect IPv4', () => {
  const dump = `${dumpOf({ rules: '' })}# peermasq: ip -6 rule\n600:\tfrom all lookup 7\n`;
  expect(explainDump(dump).source).toBe(primary);
});

describe('a packet of the node itself', () => {
  const explainFromNode = (rules: string, tables = masquerade) =>
    explain(parseSnapshot(dumpOf({ rules, tables })), {
      ...packet,
      source: parseAddress(primary),
      isFromNode: true,
    });

  test.each([
    ['is selected by iif lo', '600:\tfrom all iif lo lookup 2', [secondary]],
    ['is not selected by another interface', '600:\tfrom all iif cbr0 lookup 2', [primary]],
    ['may be selected by its address', `600:\tfrom ${primary} lookup 2`, [primary, secondary]],
    ['may be selected by its user', '600:\tfrom all uidrange 0-0 lookup 2', [primary, secondary]],
    [
      'may be selected by the interface of its socket',
      '600:\tfrom all oif eth1 lookup 2',
      [primary, secondary],
    ],
  ])('%s', (_, rules, expected) => {
    expect([...explainFromNode(rules).sources].sort()).toEqual([...expected].sort());
  });

  test('may be routed by a mark that a rule in OUTPUT sets', () => {
    const tables = iptablesTable('mangle', '-A OUTPUT -j MARK --set-xmark 0x1/0xffffffff') + masquerade;
    const { sources } = explainFromNode('600:\tfrom all fwmark 0x1 lookup 2', tables);
    expect([...sources].sort()).toEqual([primary, secondary]);
  });
});
