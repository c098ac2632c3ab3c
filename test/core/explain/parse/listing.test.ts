import { describe, expect, test } from '@jest/globals';
import {
  parseListing,
  type ListedRule,
  type Listing,
} from '../../../../shared/core/explain/parse/listing/listing';

const parse = (...lines: readonly string[]): Listing =>
  parseListing(lines.map((text, index) => ({ text, number: index + 1 })));

const rulesOf = (...lines: readonly string[]): readonly ListedRule[] =>
  parse(...lines).tables.flatMap((chains) => chains.flatMap(({ rules }) => rules));

const save = ({ tokens }: ListedRule): string => tokens.join(' ');
const unknown = ({ unknown: parts }: ListedRule): string[] => parts.map(({ text }) => text);

const verbose = [
  'Chain POSTROUTING (policy ACCEPT 32 packets, 2554 bytes)',
  'num   pkts bytes target     prot opt in     out     source               destination         ',
] as const;

/** One rule of `iptables -L -n -v --line-numbers`, as 1.8.9 prints it. */
const numbered = (target: string, extras: string): string =>
  `1        0     0 ${target.padEnd(9)}  0    --  *      *       0.0.0.0/0            0.0.0.0/0            ${extras}`;

describe('a match of iptables -L is read as iptables-save prints it:', () => {
  test.each([
    ['/* kubenet: SNAT for outbound traffic */', '-m comment --comment kubenet: SNAT for outbound traffic'],
    ['tcp dpt:80', '-m tcp --dport 80'],
    ['tcp spts:1024:65535 dpts:!80:90', '-m tcp --sport 1024:65535 ! --dport 80:90'],
    ['tcp flags:0x17/0x02', '-m tcp --tcp-flags FIN,SYN,RST,ACK SYN'],
    ['tcp flags:!0x3F/0x00', '-m tcp ! --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE'],
    ['tcp flags:SYN,RST/SYN', '-m tcp --tcp-flags SYN,RST SYN'],
    ['tcp option=5', '-m tcp --tcp-option 5'],
    ['tcp', '-m tcp'],
    ['udp spt:!53 dpts:1:2', '-m udp ! --sport 53 --dport 1:2'],
    ['multiport dports 53,80:443,8080', '-m multiport --dports 53,80:443,8080'],
    ['multiport sports  !53,80', '-m multiport ! --sports 53,80'],
    ['icmptype 8', '-m icmp --icmp-type 8'],
    ['icmptype 8 code 0', '-m icmp --icmp-type 8/0'],
    ['icmp !type 3 code 1', '-m icmp ! --icmp-type 3/1'],
    ['icmp echo-request', '-m icmp --icmp-type echo-request'],
    ['ipv6-icmptype 1 code 3', '-m icmp6 --icmpv6-type 1/3'],
    ['ipv6-icmp echo-request', '-m icmp6 --icmpv6-type echo-request'],
    ['mark match 0x4000/0x4000', '-m mark --mark 0x4000/0x4000'],
    ['mark match ! 0x1', '-m mark ! --mark 0x1'],
    ['connmark match  0x80/0x80', '-m connmark --mark 0x80/0x80'],
    ['connmark match ! 0x1', '-m connmark ! --mark 0x1'],
    ['ADDRTYPE match dst-type !LOCAL', '-m addrtype ! --dst-type LOCAL'],
    [
      'ADDRTYPE match src-type UNICAST,LOCAL dst-type !BROADCAST limit-in',
      '-m addrtype --src-type UNICAST,LOCAL ! --dst-type BROADCAST --limit-iface-in',
    ],
    ['source IP range 10.0.0.1-10.0.0.9', '-m iprange --src-range 10.0.0.1-10.0.0.9'],
    ['destination IP range ! 10.0.0.1-10.0.0.9', '-m iprange ! --dst-range 10.0.0.1-10.0.0.9'],
    ['match-set pods src', '-m set --match-set pods src'],
    ['! match-set pods dst,dst', '-m set ! --match-set pods dst,dst'],
    ['match-set pods src return-nomatch', '-m set --match-set pods src --return-nomatch'],
    ['state NEW', '-m state --state NEW'],
    ['! ctstate RELATED,ESTABLISHED', '-m conntrack ! --ctstate RELATED,ESTABLISHED'],
    [
      'ctorigsrc 10.0.0.0/8 ! ctorigdst 10.1.1.1',
      '-m conntrack --ctorigsrc 10.0.0.0/8 -m conntrack ! --ctorigdst 10.1.1.1',
    ],
    ['ctdir REPLY', '-m conntrack --ctdir REPLY'],
    [
      'statistic mode random probability 0.50000000000',
      '-m statistic --mode random --probability 0.50000000000',
    ],
    ['statistic mode nth every 2 packet 1', '-m statistic --mode nth --every 2 --packet 1'],
    ['limit: avg 5/sec burst 5', '-m limit --limit 5/sec'],
    ['! owner UID match 0', '-m owner ! --uid-owner 0'],
    [
      'ADDRTYPE match dst-type LOCAL /* NOTE: the last rule */ tcp dpt:80 mark match 0x1',
      '-m addrtype --dst-type LOCAL -m comment --comment NOTE: the last rule -m tcp --dport 80 -m mark --mark 0x1',
    ],
  ])('%s', (extras, expected) => {
    const [rule] = rulesOf(...verbose, numbered('ACCEPT', extras));
    expect(rule && save(rule)).toBe(`${expected} -j ACCEPT`);
    expect(rule?.unknown).toEqual([]);
  });
});

describe('a target of iptables -L is read as iptables-save prints it:', () => {
  test.each([
    ['MASQUERADE', '', ''],
    ['MASQUERADE', 'masq ports: 1024-65535 random', '--to-ports 1024-65535 --random'],
    ['MASQUERADE', 'random-fully', '--random-fully'],
    ['SNAT', 'to:1.2.3.4-1.2.3.9 random-fully', '--to-source 1.2.3.4-1.2.3.9 --random-fully'],
    ['SNAT', 'to:[fd00::1]:80-90', '--to-source [fd00::1]:80-90'],
    ['DNAT', 'to:1.2.3.4:80 persistent', '--to-destination 1.2.3.4:80 --persistent'],
    ['DNAT', 'to::80', '--to-destination :80'],
    ['REDIRECT', 'redir ports 8080-8090 random', '--to-ports 8080-8090 --random'],
    ['MARK', 'MARK set 0x1', '--set-mark 0x1'],
    ['MARK', 'MARK xset 0x3/0xf0', '--set-xmark 0x3/0xf0'],
    ['MARK', 'MARK and 0xff', '--and-mark 0xff'],
    ['CONNMARK', 'CONNMARK or 0x80', '--or-mark 0x80'],
    ['CONNMARK', 'CONNMARK save', '--save-mark'],
    ['CONNMARK', 'CONNMARK restore mask 0xf0', '--restore-mark --mask 0xf0'],
    ['CONNMARK', 'CONNMARK save nfmask 0xff ctmask ~0xfff', '--save-mark --nfmask 0xff --ctmask 0xfff'],
    ['CT', 'CT notrack', '--notrack'],
    ['CT', 'NOTRACK', '--notrack'],
    ['CT', 'CT notrack zone 5', '--notrack --other'],
    ['CT', 'CT zone 5', '--other'],
    ['REJECT', 'reject-with icmp-port-unreachable', ''],
    ['LOG', 'LOG flags 12 level 7 prefix "abc: "', '--options LOG flags 12 level 7 prefix "abc: "'],
    ['NFLOG', 'nflog-prefix "x y" nflog-group 5', ''],
    ['SET', 'add-set pods src exist timeout 50', '--add-set pods src'],
  ])('%s %s', (target, extras, expected) => {
    const [rule] = rulesOf(...verbose, numbered(target, extras));
    expect(rule && save(rule)).toBe(`-j ${target} ${expected}`.trim());
    expect(rule?.unknown).toEqual([]);
  });
});

test('the forms show more or less of the same rules', () => {
  const address = '-s 10.0.0.0/8 ! -d 10.1.2.3';
  const forms = [
    [
      '-L',
      'target     prot opt source               destination         ',
      'MASQUERADE  tcp  --  10.0.0.0/8          !10.1.2.3             tcp dpt:http',
      `${address} -p tcp -m tcp --dport http -j MASQUERADE`,
      ['interfaces'],
    ],
    [
      '-L -n',
      'target     prot opt source               destination         ',
      'MASQUERADE  6    --  10.0.0.0/8          !10.1.2.3             tcp dpt:80',
      `${address} -p 6 -m tcp --dport 80 -j MASQUERADE`,
      ['interfaces'],
    ],
    [
      '-L -v',
      ' pkts bytes target     prot opt in     out     source               destination         ',
      '  12K  244M MASQUERADE  tcp  --  any    !eth+   10.0.0.0/8          !10.1.2.3             tcp dpt:http',
      `${address} ! -o eth+ -p tcp -m tcp --dport http -j MASQUERADE`,
      [],
    ],
    [
      '-L -n -v --line-numbers',
      'num   pkts bytes target     prot opt in     out     source               destination         ',
      '1      12K  244M MASQUERADE  6    --  *      !eth+   10.0.0.0/8          !10.1.2.3             tcp dpt:80',
      `${address} ! -o eth+ -p 6 -m tcp --dport 80 -j MASQUERADE`,
      [],
    ],
    [
      'the same without a header',
      '',
      '1      12K  244M MASQUERADE  6    --  *      !eth+   10.0.0.0/8          !10.1.2.3             tcp dpt:80',
      `${address} ! -o eth+ -p 6 -m tcp --dport 80 -j MASQUERADE`,
      [],
    ],
  ] as const;
  for (const [name, columns, line, expected, missing] of forms) {
    const [rule] = rulesOf('Chain POSTROUTING (policy ACCEPT)', columns, line);
    expect({ name, save: rule && save(rule), unknown: rule && unknown(rule) }).toEqual({
      name,
      save: expected,
      unknown: missing,
    });
  }
});

test.each([
  [
    'no target',
    '1        0     0            6    --  *      *       0.0.0.0/0            0.0.0.0/0           ',
    '-p 6',
  ],
  [
    'a long chain name',
    '1 0 0 LONGCHAINNAME-1234567890123 !6  --  *  *  ::/0  ::/0',
    '! -p 6 -j LONGCHAINNAME-1234567890123',
  ],
  [
    'goto',
    '1        0     0 SUB        0    --  *      *       0.0.0.0/0            0.0.0.0/0           [goto] ',
    '-g SUB',
  ],
  [
    'fragments',
    '1        0     0 DROP       0    !f  *      *       0.0.0.0/0            0.0.0.0/0           ',
    '! -f -j DROP',
  ],
  [
    'no opt column and no target',
    '1 0 0      tcp      eth0   *       ::/0                 fd00::/8            ',
    '-d fd00::/8 -i eth0 -p tcp',
  ],
  [
    'no opt column',
    '1 0 0 ACCEPT     all      *      eth0    ::/0                 fd00::/ffff:0:ffff:: ',
    '-d fd00::/ffff:0:ffff:: -o eth0 -j ACCEPT',
  ],
])('a rule with %s is read', (_, line, expected) => {
  const [rule] = rulesOf(...verbose, line);
  expect(rule && save(rule)).toBe(expected);
  expect(rule?.unknown).toEqual([]);
});

describe('what cannot be read is unknown:', () => {
  test.each([
    [
      'a match of an unknown kind',
      'ACCEPT',
      'PHYSDEV match --physdev-is-bridged tcp dpt:80',
      'PHYSDEV match --physdev-is-bridged tcp dpt:80',
      '-j ACCEPT',
    ],
    [
      'a match before the options of the target',
      'SNAT',
      'length 10:20 to:1.2.3.4',
      'length 10:20',
      '-j SNAT --to-source 1.2.3.4',
    ],
    [
      'a comment with the text of another match',
      'ACCEPT',
      '/* x */ state NEW /* y */',
      '/* x */ state NEW /* y */',
      '-j ACCEPT',
    ],
    ['text that was cut', 'ACCEPT', 'ADDRTYPE match dst-type !LO…', 'dst-type !LO…', '-m addrtype -j ACCEPT'],
    ['the options of CT', 'CT', 'CT notr…', 'CT notr…', '-j UNREADABLE --line'],
  ])('%s', (...[, target, extras, expected, tokens]) => {
    const [rule] = rulesOf(...verbose, numbered(target, extras));
    expect(rule && unknown(rule)).toEqual([expected]);
    expect(rule && save(rule)).toBe(tokens);
  });

  test('a line that is not a rule, and the rule before it, which it may continue', () => {
    const [first, second, third] = rulesOf(
      ...verbose,
      numbered('RETURN', ''),
      '[...]',
      numbered('ACCEPT', ''),
    );
    expect(first && unknown(first)).toEqual(['[...]']);
    expect(second).toMatchObject({ tokens: ['-j', 'UNREADABLE', '--line'], unknown: [{ text: '[...]' }] });
    expect(third?.unknown).toEqual([]);
  });
});

test.each([
  ['between words', '0.0.0.0/0   tcp', 'dpt:80', '-m tcp --dport 80 -j ACCEPT'],
  ['in a word', '0.0.0.0/0   tcp dp', 't:80', '-m tcp --dport 80 -j ACCEPT'],
  [
    'in a comment',
    '0.0.0.0/0   /* kuber',
    'netes */ state NEW',
    '-m comment --comment kuber netes -m state --state NEW -j ACCEPT',
  ],
])('a line that was broken %s is joined', (...[, end, next, expected]) => {
  const rules = rulesOf(...verbose, `1  0 0 ACCEPT  0  --  *  *  0.0.0.0/0  ${end}`, next);
  expect(rules.map(save)).toEqual([expected]);
  expect(rules[0]?.unknown).toEqual([]);
});

test('anywhere is any network that starts at :: in a listing of ip6tables without -n', () => {
  const lines = [
    'Chain FORWARD (policy ACCEPT 0 packets, 0 bytes)',
    ' pkts bytes target     prot opt in     out     source               destination         ',
    '    0     0 RETURN     all  --  any    any     anywhere             anywhere            ',
  ].map((text, index) => ({ text, number: index + 1 }));
  const unknownOf = (family: 4 | 6) => parseListing(lines, family).tables[0]?.[0].rules.flatMap(unknown);
  expect(unknownOf(4)).toEqual([]);
  expect(unknownOf(6)).toEqual(['-s anywhere', '-d anywhere']);
});

test('rules that a filter left out are unknown', () => {
  const rules = rulesOf(...verbose, numbered('RETURN', ''), numbered('ACCEPT', '').replace('1', '4'));
  expect(rules.map((rule) => [rule.number, save(rule), unknown(rule)])).toEqual([
    [1, '-j RETURN', []],
    [2, '-j UNREADABLE --line', ['(rule 2)']],
    [4, '-j ACCEPT', []],
  ]);
});

test('the chains have their policies, and the addresses show the family', () => {
  const { tables, family } = parse(
    'Chain FORWARD (policy DROP 0 packets, 0 bytes)',
    'target     prot opt source               destination         ',
    'ACCEPT     all      fd00::/8             anywhere            ',
    '',
    'Chain KUBE-FORWARD (1 references)',
    'target     prot opt source               destination         ',
  );
  expect(tables).toMatchObject([
    [
      { name: 'FORWARD', policy: 'drop', line: 1, rules: [{ line: 3, packets: undefined }] },
      { name: 'KUBE-FORWARD', policy: undefined, line: 5, rules: [] },
    ],
  ]);
  expect(family).toBe(6);
});
