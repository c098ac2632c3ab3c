import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAddress } from '../../../shared/core/model/cidr';
import { explain } from '../../../shared/core/explain/explain';
import { DumpError } from '../../../shared/core/explain/model';
import type { Packet } from '../../../shared/core/explain/simulate/packet';
import { parseSnapshot } from '../../../shared/core/explain/parse/snapshot';

const packet: Packet = {
  source: parseAddress('10.132.0.10'),
  destination: parseAddress('10.193.0.3'),
  protocol: 'tcp',
  sourcePort: 40_000,
  destinationPort: 443,
  in: 'cbr0',
  out: 'eth0',
  isFromNode: false,
};

const network = `2: eth0    inet 10.209.0.2/16 scope global eth0
3: cbr0    inet 10.132.0.1/24 scope global cbr0
default via 10.209.0.1 dev eth0
`;
const sets = `create peers hash:net family inet hashsize 1024 maxelem 65536
add peers 10.193.0.0/16
add peers 10.193.9.0/24 nomatch
create services hash:ip,port family inet
add services 10.193.0.3,tcp:443
create both list:set size 8
add both peers
`;

const dumpOf = (...rules: readonly string[]) =>
  `${network}${sets}*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:A - [0:0]\n:B - [0:0]\n${rules.join('\n')}\nCOMMIT\n`;
const isMasqueraded = (...rules: readonly string[]) =>
  explain(parseSnapshot(dumpOf(...rules)), packet).masqueraded;

const matching = [
  '-s 10.132.0.0/14',
  '-d 10.193.0.3/32',
  '-o eth0',
  '-o eth+',
  '-p tcp',
  '-p tcp -m tcp --dport 443',
  '-p tcp -m tcp --sport 32768:65535',
  '-p tcp -m multiport --dports 80,443',
  '-p tcp -m multiport --ports 400:500',
  '-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN',
  '-m mark --mark 0x0/0x4000',
  '-m connmark --mark 0x0',
  '-m addrtype --dst-type UNICAST',
  '-m addrtype --dst-type UNICAST --limit-iface-out',
  '-m conntrack --ctstate NEW',
  '-m state --state NEW,ESTABLISHED',
  '-m iprange --dst-range 10.193.0.1-10.193.0.9',
  '-m set --match-set peers dst',
  '-m set --match-set services dst,dst',
  '-m set --match-set both dst',
  '-m statistic --mode random --probability 1.00000000000',
] as const;
const unknown = [
  '-m statistic --mode random --probability 0.50000000000',
  '-m limit --limit 3/sec',
  '-m owner --uid-owner 0',
  '-m set --match-set absent dst',
  '-m physdev --physdev-is-bridged',
] as const;

/** The same matches with the last option negated. */
const negated = (text: string) => {
  const tokens = text.split(' ');
  const at = tokens.findLastIndex(
    (token) => token.startsWith('-') && !/^--limit-iface|^--probability/.test(token),
  );
  return [...tokens.slice(0, at), '!', ...tokens.slice(at)].join(' ');
};

describe('a match', () => {
  test.each(matching)('%s', (match) => {
    expect(isMasqueraded(`-A POSTROUTING ${match} -j MASQUERADE`)).toBe(true);
  });
  test.each(matching.filter((match) => !match.includes('--probability')))('negated: %s', (match) => {
    expect(isMasqueraded(`-A POSTROUTING ${negated(match)} -j MASQUERADE`)).toBe(false);
  });
  test.each(unknown)('not decided here: %s', (match) => {
    expect(isMasqueraded(`-A POSTROUTING ${match} -j MASQUERADE`)).toBe('unknown');
  });
});

describe('a target', () => {
  test.each([
    ['jump comes back', ['-A POSTROUTING -j A', '-A POSTROUTING -j MASQUERADE', '-A A -j RETURN'], true],
    ['goto does not', ['-A POSTROUTING -j A', '-A A -g B', '-A A -j MASQUERADE', '-A B -j LOG'], false],
    [
      'ACCEPT ends the table',
      ['-A POSTROUTING -j A', '-A POSTROUTING -j MASQUERADE', '-A A -j ACCEPT'],
      false,
    ],
    ['LOG goes on', ['-A POSTROUTING -j LOG', '-A POSTROUTING -j MASQUERADE'], true],
    [
      'MARK',
      ['-A POSTROUTING -j MARK --set-xmark 0x5/0x7', '-A POSTROUTING -m mark --mark 0x4/0x6 -j MASQUERADE'],
      true,
    ],
    ['an unknown one', ['-A POSTROUTING -j FANCY --x', '-A POSTROUTING -j MASQUERADE'], 'unknown'],
  ] as const)('%s', (_, rules, expected) => {
    expect(isMasqueraded(...rules)).toBe(expected);
  });

  test('SNAT to a range leaves its addresses open', () => {
    const dump = dumpOf('-A POSTROUTING -j SNAT --to-source 198.51.100.1-198.51.100.2');
    expect(explain(parseSnapshot(dump), packet)).toMatchObject({
      source: null,
      sources: ['198.51.100.1', '198.51.100.2'],
    });
  });
});

test.each([
  ['that cannot be decided', '-m limit --limit 1/min -j DROP', true],
  ['of an unknown target', '-j NFQUEUE --queue-num 0', true],
  ['of others', '-s 10.132.0.11 -m limit --limit 1/min -j DROP', false],
  ['that is certain', '-j DROP', false],
])('whether it may be dropped is told: a drop %s', (_, rule, expected) => {
  const filter = `*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD ${rule}\nCOMMIT\n`;
  const dump = dumpOf('-A POSTROUTING -j MASQUERADE') + filter;
  expect(explain(parseSnapshot(dump), packet).mayBeDropped).toBe(expected);
});

test.each([
  ['10.209.0.2', true],
  ['10.132.0.10', false],
])('what comes behind nat looks at the source that nat gave: %s', (saddr, isDropped) => {
  const at = { family: 'ip', table: 'own', chain: 'post' };
  const fromSource = {
    match: { op: '==', left: { payload: { protocol: 'ip', field: 'saddr' } }, right: saddr },
  };
  const nftables = [
    { table: { family: 'ip', name: 'own' } },
    { chain: { ...at, name: 'post', type: 'filter', hook: 'postrouting', prio: 300 } },
    { rule: { ...at, expr: [fromSource, { drop: null }] } },
  ];
  const dump = `${dumpOf('-A POSTROUTING -j MASQUERADE')}${JSON.stringify({ nftables })}\n`;
  expect(explain(parseSnapshot(dump), packet).cause).toBe(isDropped ? 'dropped' : 'masqueraded');
});

const dnat = '-j DNAT --to-destination 10.193.0.4:5432';
const halfProbability = '-m statistic --mode random --probability 0.5';
test.each([
  ['as it was', `-d 10.193.0.9/32 ${dnat}`, [{ address: '10.193.0.3', port: 443 }], []],
  ['changed', dnat, [{ address: '10.193.0.4', port: 5432 }], [`-A PREROUTING ${dnat}`]],
  [
    'one of two',
    `${halfProbability} ${dnat}`,
    [
      { address: '10.193.0.4', port: 5432 },
      { address: '10.193.0.3', port: 443 },
    ],
    [`-A PREROUTING ${halfProbability} ${dnat}`],
  ],
])('the destination that it leaves with is told: %s', (_, rule, destinations, redirectedBy) => {
  const dump = dumpOf(`-A PREROUTING ${rule}`, '-A POSTROUTING -j MASQUERADE');
  const explained = explain(parseSnapshot(dump), packet);
  expect(explained.redirectedBy).toEqual(redirectedBy);
  expect(explained.destinations).toHaveLength(destinations.length);
  expect(explained.destinations).toEqual(expect.arrayContaining(destinations));
});

test('a destination that is not known is told as that', () => {
  const dump = dumpOf('-A PREROUTING -j NETMAP --to 10.193.0.0/24', '-A POSTROUTING -j MASQUERADE');
  expect(explain(parseSnapshot(dump), packet).destinations).toContainEqual({ address: null, port: null });
});

describe('what no rule can masquerade, as it is not tracked', () => {
  const raw = (rule: string) => `*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING ${rule}\nCOMMIT\n`;
  const explained = (rule: string, ...nat: readonly string[]) =>
    explain(parseSnapshot(dumpOf(...nat) + raw(rule)), packet);

  test('names the rule that takes it out of conntrack, and is cured by taking that away', () => {
    const { masqueraded, cause, reason, fix } = explained(
      '-s 10.132.0.10/32 -j CT --notrack',
      '-A POSTROUTING -j MASQUERADE',
    );
    expect([masqueraded, cause]).toEqual([false, 'untracked']);
    expect(reason).toMatch(/^Untracked: PREROUTING rule 1 .* table raw.*CT --notrack.* would masquerade/);
    expect(fix).toBe('iptables-nft -t raw -D PREROUTING 1');
  });

  test('of others says nothing', () => {
    expect(explained('-s 10.132.0.11/32 -j NOTRACK', '-A POSTROUTING -j A').cause).toBe('no-rule');
  });

  test('in nft is taken away by its handle', () => {
    const at = { family: 'ip', table: 'own', chain: 'pre' };
    const nftables = [
      { table: { family: 'ip', name: 'own' } },
      { chain: { ...at, name: 'pre', type: 'filter', hook: 'prerouting', prio: -300 } },
      { rule: { ...at, handle: 7, expr: [{ notrack: null }] } },
    ];
    const dump = network + JSON.stringify({ nftables });
    expect(explain(parseSnapshot(dump), packet)).toMatchObject({
      cause: 'untracked',
      fix: 'nft delete rule ip own pre handle 7',
    });
  });
});

test('a rule of peermasq in the other backend is told, though kernels of today heed it', () => {
  const legacy =
    '# peermasq: iptables-legacy-save\n*nat\n:POSTROUTING ACCEPT [0:0]\n:PEERMASQ - [0:0]\n-A POSTROUTING -j PEERMASQ\n-A PEERMASQ -d 10.193.0.0/16 -j MASQUERADE\nCOMMIT\n';
  const nft =
    '# peermasq: iptables-nft-save\n*mangle\n:PREROUTING ACCEPT [0:0]\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n';
  const { masqueraded, cause, fix } = explain(parseSnapshot(legacy + nft), packet);
  expect([masqueraded, cause]).toEqual([true, 'wrong-backend']);
  expect(fix).toMatch(/^iptables-nft /);
});

test('a chain that nobody shows is an open question', () => {
  const dump = `# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n${dumpOf()}`;
  expect(explain(parseSnapshot(dump), packet).masqueraded).toBe('unknown');
});

describe('properties', () => {
  const rule = fc.tuple(
    fc.constantFrom('POSTROUTING', 'A', 'B'),
    fc.constantFrom(
      '',
      ...matching,
      ...matching.filter((match) => !match.includes('--probability')).map(negated),
      ...unknown,
    ),
    fc.constantFrom(
      '-j MASQUERADE',
      '-j RETURN',
      '-j ACCEPT',
      '-j LOG',
      '-j SNAT --to-source 198.51.100.7',
      '-j A',
      '-g B',
    ),
  );
  /** Chains only call those after them, as in the kernel there are no loops. */
  const rules = fc
    .array(rule, { maxLength: 12 })
    .map((list) =>
      list.filter(
        ([chain, , target]) =>
          !(chain === 'B' && / [AB]$/.test(target)) && !(chain === 'A' && target === '-j A'),
      ),
    );
  const textOf = ([chain, match, target]: readonly [string, string, string]) =>
    `-A ${chain} ${match} ${target}`;

  test('one more unknown match opens answers, and never turns one into another', () => {
    fc.assert(
      fc.property(rules, fc.nat(), (list, at) => {
        const before = explain(parseSnapshot(dumpOf(...list.map(textOf))), packet);
        const texts = list.map((one, index) =>
          textOf(index === at % list.length ? [one[0], `${one[1]} -m limit --limit 1/s`, one[2]] : one),
        );
        const after = explain(parseSnapshot(dumpOf(...texts)), packet);
        expect(
          after.masqueraded === 'unknown' ||
            after.masqueraded === before.masqueraded ||
            before.masqueraded === 'unknown',
        ).toBe(true);
      }),
    );
  });

  test('what stands after a rule that ends all changes nothing', () => {
    fc.assert(
      fc.property(rules, rules, (list, more) => {
        const first = [...list.map(textOf), '-A POSTROUTING -j ACCEPT'];
        const later = more.filter(([chain]) => chain === 'POSTROUTING').map(textOf);
        expect(isMasqueraded(...first, ...later)).toBe(isMasqueraded(...first));
      }),
    );
  });
});

describe('bad input', () => {
  test.each([
    ['nothing', '', 1],
    ['a page', 'x\n<html>', 1],
    ['no COMMIT', '*nat\n:POSTROUTING ACCEPT [0:0]\n', 3],
    ['a rule in no chain', '*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n', 2],
    ['a call of no chain', '*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -j KUBE-X\nCOMMIT\n', 3],
    [
      'an open quote',
      '*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -m comment --comment "a -j ACCEPT\nCOMMIT\n',
      3,
    ],
    ['a loop', '*nat\n:A - [0:0]\n-A A -j A\nCOMMIT\n', 1],
    ['JSON cut off', '{"nftables": [{"table": {"family"', 1],
    ['other JSON', '{"items": []}', 1],
    ['an endless line', `*nat\n# \n:${'A'.repeat(70_000)}\nCOMMIT`, 3],
  ])('%s', (_, text, line) => {
    const parse = () => parseSnapshot(text);
    expect(parse).toThrow(DumpError);
    expect(parse).toThrow(`Line ${line} of the dump`);
  });

  const dumps = ['kubenet', 'calico', 'nft', 'eks'].map((name) =>
    readFileSync(join(__dirname, 'dumps', `${name}.txt`), 'utf8'),
  );
  test('a damaged dump is explained or refused, and nothing else', () => {
    const damage = fc.record({
      dump: fc.constantFrom(...dumps),
      at: fc.nat(6000),
      removed: fc.nat(40),
      text: fc.string({ maxLength: 12 }),
    });
    fc.assert(
      fc.property(damage, ({ dump, at, removed, text }) => {
        try {
          explain(parseSnapshot(dump.slice(0, at) + text + dump.slice(at + removed)), packet);
        } catch (error) {
          expect(error).toBeInstanceOf(DumpError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

test('10,000 rules are read and followed within a second, in a path that people can read', () => {
  const rules = Array.from(
    { length: 10_000 },
    (_, index) => `-A POSTROUTING -d 10.${index >> 8}.${index & 255}.0/24 -m limit --limit 1/s -j MASQUERADE`,
  );
  const text = dumpOf(...rules, '-A POSTROUTING -j MASQUERADE');
  const began = process.cpuUsage();
  const { path, omitted } = explain(parseSnapshot(text), packet);
  const { user, system } = process.cpuUsage(began);
  // Of 10,000 near misses 40 are shown.
  expect((user + system) / 1000).toBeLessThan(1000);
  expect([path.length, omitted]).toEqual([41, 9960]);
});
