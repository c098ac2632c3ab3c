import { describe, expect, test } from '@jest/globals';
import { parseNftText } from '../../../../shared/core/explain/parse/nft/text/ruleset';
import { listOf, objectOf, type JsonObject } from '../../../../shared/core/explain/parse/nft/values';

const parse = (text: string) => {
  const { json, unread } = parseNftText(
    text.split('\n').map((line, index) => ({ text: line, number: index + 1 })),
  );
  const objects = listOf(objectOf(json)['nftables']).map(objectOf);
  const all = (kind: string): JsonObject[] =>
    objects.filter((object) => kind in object).map((object) => objectOf(object[kind]));
  return { all, unread: unread.map((line) => line.text) };
};

const inTable = (table: string, rule: string) => `table ${table} {
	chain post {
		type nat hook postrouting priority srcnat; policy accept;
${rule}
	}
}`;

const expressionOf = (rule: string, table = 'inet own') => {
  const [first] = parse(inTable(table, `\t\t${rule}`)).all('rule');
  return first?.['expr'];
};

const ip = (field: string) => ({ payload: { protocol: 'ip', field } });
const mark = { meta: { key: 'mark' } };
const match = (left: JsonObject, right: unknown, op = '==') => ({ match: { op, left, right } });

describe('a statement of nft is read as nft -j prints it:', () => {
  test.each([
    ['ip daddr != 10.0.0.0/8', match(ip('daddr'), { prefix: { addr: '10.0.0.0', len: 8 } }, '!=')],
    ['ip saddr 10.0.0.1-10.0.0.9', match(ip('saddr'), { range: ['10.0.0.1', '10.0.0.9'] })],
    ['ip6 daddr ::1', match({ payload: { protocol: 'ip6', field: 'daddr' } }, '::1')],
    ['ip saddr @nets', match(ip('saddr'), '@nets')],
    [
      'tcp dport { 22, 80-90 }',
      match({ payload: { protocol: 'tcp', field: 'dport' } }, { set: [22, { range: [80, 90] }] }),
    ],
    ['tcp sport >= 1024', match({ payload: { protocol: 'tcp', field: 'sport' } }, 1024, '>=')],
    [
      'tcp flags syn / syn,ack',
      match({ '&': [{ payload: { protocol: 'tcp', field: 'flags' } }, ['syn', 'ack']] }, 'syn'),
    ],
    [
      'ip daddr . tcp dport { 10.0.0.1 . 80, 10.0.0.0/24 . 90-95 }',
      match(
        { concat: [ip('daddr'), { payload: { protocol: 'tcp', field: 'dport' } }] },
        {
          set: [
            { concat: ['10.0.0.1', 80] },
            { concat: [{ prefix: { addr: '10.0.0.0', len: 24 } }, { range: [90, 95] }] },
          ],
        },
      ),
    ],
    ['meta mark & 0x00004000 != 0x00004000', match({ '&': [mark, 0x4000] }, 0x4000, '!=')],
    ['mark and 0x4000 == 0x4000', match({ '&': [mark, 0x4000] }, 0x4000)],
    ['oifname != { "eth0", "eth*" }', match({ meta: { key: 'oifname' } }, { set: ['eth0', 'eth*'] }, '!=')],
    ['meta l4proto { 6, 17 }', match({ meta: { key: 'l4proto' } }, { set: [6, 17] })],
    [
      'fib daddr . oif type != { local, broadcast }',
      match({ fib: { result: 'type', flags: ['daddr', 'oif'] } }, { set: ['local', 'broadcast'] }, '!='),
    ],
    ['ct state established,related', match({ ct: { key: 'state' } }, ['established', 'related'])],
    ['ct state ! established,related', match({ ct: { key: 'state' } }, ['established', 'related'], '!=')],
    [
      'ct original ip saddr 10.0.0.0/8',
      match({ ct: { key: 'ip saddr', dir: 'original' } }, { prefix: { addr: '10.0.0.0', len: 8 } }),
    ],
    ['meta hour "10:00"-"12:00"', match({ meta: { key: 'hour' } }, { range: ['10:00', '12:00'] })],
    [
      'ip daddr vmap { 10.0.0.1 : jump sub, * : continue }',
      {
        vmap: {
          key: ip('daddr'),
          data: {
            set: [
              ['10.0.0.1', { jump: { target: 'sub' } }],
              ['*', { continue: null }],
            ],
          },
        },
      },
    ],
    [
      'numgen random mod 2 vmap { 0 : goto sub }',
      {
        vmap: {
          key: { numgen: { mode: 'random', mod: 2, offset: 0 } },
          data: { set: [[0, { goto: { target: 'sub' } }]] },
        },
      },
    ],
    [
      'meta mark set meta mark & 0x000040ff | 0x00004000',
      { mangle: { key: mark, value: { '|': [{ '&': [mark, 0x40ff] }, 0x4000] } } },
    ],
    ['meta mark set mark or 0x4000', { mangle: { key: mark, value: { '|': [mark, 0x4000] } } }],
    ['ct mark set meta mark', { mangle: { key: { ct: { key: 'mark' } }, value: mark } }],
    [
      'tcp option maxseg size set rt mtu',
      { mangle: { key: { 'tcp option': { name: 'maxseg', field: 'size' } }, value: { rt: { key: 'mtu' } } } },
    ],
    ['counter packets 5 bytes 60', { counter: { packets: 5, bytes: 60 } }],
    ['counter', { counter: null }],
    ['limit rate over 10 kbytes/second burst 5 kbytes', { limit: {} }],
    ['log prefix "a # b { c" level debug flags tcp sequence,options flags skuid', { log: null }],
    [
      'update @clients { ip saddr timeout 5s limit rate 5/second }',
      { set: { op: 'update', set: '@clients' } },
    ],
    ['reject with icmp type host-prohibited', { reject: { type: 'icmp' } }],
    ['masquerade', { masquerade: null }],
    [
      'masquerade to :1024-2048 fully-random,persistent',
      { masquerade: { port: { range: [1024, 2048] }, flags: ['fully-random', 'persistent'] } },
    ],
    [
      'snat ip to 1.2.3.4-1.2.3.9:80-90',
      { snat: { family: 'ip', addr: { range: ['1.2.3.4', '1.2.3.9'] }, port: { range: [80, 90] } } },
    ],
    ['dnat to [fd00::1]:80', { dnat: { addr: 'fd00::1', port: 80 } }],
    ['dnat to fd00::1-fd00::5', { dnat: { addr: { range: ['fd00::1', 'fd00::5'] } } }],
    ['redirect to :8080', { redirect: { port: 8080 } }],
    ['xt match "addrtype"', { xt: { type: 'match', name: 'addrtype' } }],
    ['xt target MASQUERADE', { xt: { type: 'target', name: 'MASQUERADE' } }],
    ['# xt_MASQUERADE', { xt: { type: 'target', name: 'MASQUERADE' } }],
    ['# xt_comment', { xt: { type: 'match', name: 'comment' } }],
  ] as const)('%s', (text, expected) => {
    expect(expressionOf(`${text} continue`)).toEqual([expected, { continue: null }]);
  });
});

describe('what cannot be read is kept:', () => {
  test.each([
    ['jhash ip saddr mod 2 0 return', 'rest', 'jhash ip saddr mod 2 0 return'],
    ['dnat ip to ip daddr map @backends', 'rest', 'dnat ip to ip daddr map @backends'],
    ['@th,16,16 0x50 return', 'rest', '@th,16,16 0x50 return'],
    ['queue num 5 bypass', 'rest', 'queue num 5 bypass'],
    ['meta mark set meta mark ^ 1 & 2', 'rest', 'meta mark set meta mark ^ 1 & 2'],
    ['ip daddr { 10.0.0.1, 10.0…', 'rest', 'ip daddr { 10.0.0.1, 10.0…'],
    ['ip daddr { 10.0.0.1,', 'rest', 'ip daddr { 10.0.0.1,'],
    ['ct mark meta mark return', 'rest', 'ct mark meta mark return'],
    ['...', 'rest', '...'],
  ])('%s', (text, part, shown) => {
    expect(expressionOf(text)).toEqual([{ unreadable: { text: shown, part } }]);
  });

  test('a match before the counter, as nft printed the extensions of iptables at first', () => {
    expect(expressionOf('ip protocol tcp # match-set pods src counter packets 0 bytes 0 return')).toEqual([
      match(ip('protocol'), 'tcp'),
      { unreadable: { text: '# match-set pods src', part: 'match' } },
      { counter: { packets: 0, bytes: 0 } },
      { return: null },
    ]);
  });

  test('a line that continues a broken rule', () => {
    const { all } = parse(inTable('ip own', '\t\tip saddr 10.0.0.0/8\nmasquerade'));
    expect(all('rule').map((rule) => rule['expr'])).toEqual([
      [match(ip('saddr'), { prefix: { addr: '10.0.0.0', len: 8 } })],
      [{ unreadable: { text: 'masquerade', part: 'rest' } }],
    ]);
  });
});

describe('in a table of iptables-nft, nft translates approximately:', () => {
  test.each([
    ['fib saddr type != unicast', 'match'],
    ['ct status snat', 'match'],
    ['meta mark set ct mark and 0x80', 'target'],
    ['ct mark set mark and 0xff', 'target'],
    ['ct mark set ct mark and 0xf xor 0x1', 'target'],
  ])('%s', (text, part) => {
    expect(expressionOf(text, 'ip nat')).toEqual([{ unreadable: { text, part } }]);
    expect(JSON.stringify(expressionOf(text))).not.toContain('unreadable');
  });

  test.each(['fib daddr type != local', 'ct state new', 'meta mark set mark and 0xffffbfff xor 0x4000'])(
    'but not %s',
    (text) => {
      expect(JSON.stringify(expressionOf(text, 'ip nat'))).not.toContain('unreadable');
    },
  );

  const lost = { unreadable: { text: '(a comment, or a match that nft does not print)', part: 'match' } };
  test('before 1.0.6, more spaces than one show that a match was left out', () => {
    const rule = ' ip protocol tcp  counter packets 0 bytes 0 return';
    const expected = [
      lost,
      match(ip('protocol'), 'tcp'),
      lost,
      { counter: { packets: 0, bytes: 0 } },
      { return: null },
    ];
    expect(expressionOf(rule, 'ip nat')).toEqual(expected);
    expect(expressionOf(rule)).toHaveLength(3);
    const newer = parse(
      `# Warning: table ip nat is managed by iptables-nft, do not touch!\n${inTable('ip nat', `\t\t${rule}`)}`,
    );
    expect(newer.all('rule')[0]?.['expr']).toHaveLength(3);
  });
});

test('tables, chains and sets are read with handles, comments and names of priorities', () => {
  const { all, unread } = parse(`table inet own { # handle 1
	comment "hello"
	flags dormant
	counter hits { # handle 8
		packets 0 bytes 0
	}
	ct helper ftp {
		type "ftp" protocol tcp
	}

	set nets { # handle 11
		type ipv4_addr
		flags interval
		elements = { 1.2.3.4-1.2.3.9,
			     100.64.0.1 comment "x" }
	}

	set clients {
		typeof ip saddr
		timeout 1h
		elements = { 10.0.0.1 timeout 5h expires 4h59m counter packets 5 bytes 6 }
	}

	map services {
		type ipv4_addr . inet_service : verdict
		elements = { 10.0.0.1 . 80 : jump sub }
	}

	chain sub { # handle 1
	}

	chain post { # handle 2
		comment "base"
		type nat hook postrouting priority srcnat + 5; policy drop;
		tcp dport { 1,
			    2 } masquerade comment "a # b { c" # handle 28
	}
}
table netdev lan {
	chain in {
		type filter hook ingress devices = { eth0, "lo" } priority -500;
	}
}
…`);
  expect(all('table')).toEqual([
    { family: 'inet', name: 'own', flags: ['dormant'] },
    { family: 'netdev', name: 'lan' },
  ]);
  expect(all('set')).toEqual([
    {
      family: 'inet',
      table: 'own',
      name: 'nets',
      flags: ['interval'],
      elem: [{ range: ['1.2.3.4', '1.2.3.9'] }, { elem: { val: '100.64.0.1' } }],
    },
    {
      family: 'inet',
      table: 'own',
      name: 'clients',
      flags: ['timeout'],
      elem: [{ elem: { val: '10.0.0.1' } }],
    },
  ]);
  expect(all('map')).toMatchObject([
    { name: 'services', elem: [[{ concat: ['10.0.0.1', 80] }, { jump: { target: 'sub' } }]] },
  ]);
  expect(all('chain')).toEqual([
    { family: 'inet', table: 'own', name: 'sub' },
    {
      family: 'inet',
      table: 'own',
      name: 'post',
      type: 'nat',
      hook: 'postrouting',
      prio: 105,
      policy: 'drop',
    },
    {
      family: 'netdev',
      table: 'lan',
      name: 'in',
      type: 'filter',
      hook: 'ingress',
      prio: -500,
      dev: ['eth0', 'lo'],
      policy: 'accept',
    },
  ]);
  expect(all('rule')).toMatchObject([
    { chain: 'post', handle: 28, comment: 'a # b { c', expr: [{ match: {} }, { masquerade: null }] },
  ]);
  expect(unread).toEqual(['…']);
});

test('a set of nft --terse is left out, because its elements are', () => {
  const lines = ['table ip own {', '\tset nets {', '\t\ttype ipv4_addr', '\t}', '}'];
  const setsOf = (options: { isTerse: boolean }) => {
    const { json } = parseNftText(
      lines.map((text, index) => ({ text, number: index + 1 })),
      options,
    );
    return listOf(objectOf(json)['nftables']).filter((object) => 'set' in objectOf(object));
  };
  expect([setsOf({ isTerse: true }).length, setsOf({ isTerse: false }).length]).toEqual([0, 1]);
});

test.each([
  ['dstnat - 1', -101],
  ['filter', 0],
  ['mangle', -150],
  ['77', 77],
])('priority %s is %d', (text, expected) => {
  const { all } = parse(
    `table ip own {\n\tchain c {\n\t\ttype filter hook output priority ${text}; policy accept;\n\t}\n}`,
  );
  expect(all('chain')).toMatchObject([{ prio: expected }]);
});
