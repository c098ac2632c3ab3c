import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { explain } from '../../../../shared/core/explain/explain';
import type { Explanation } from '../../../../shared/core/explain/explanation';
import { overviewOf, type OverviewEntry } from '../../../../shared/core/explain/overview/overview';
import { parseSnapshot } from '../../../../shared/core/explain/parse/snapshot';
import { contains, formatAddress, formatRange } from '../../../../shared/core/explain/ranges';
import { parseAddress } from '../../../../shared/core/model/cidr';
import { iptablesTable, natTable, network } from '../dump-builder';

const packet = { source: parseAddress('10.132.0.10'), protocol: 'tcp', isFromNode: false } as const;
const overview = (dump: string) => overviewOf(parseSnapshot(network + dump), packet).entries;

/** Returns one line for each entry that leaves the node. */
const linesOf = (entries: readonly OverviewEntry[], family: 4 | 6 = 4) =>
  entries
    .filter(({ outcome }) => outcome !== 'stays-on-node')
    .map(({ outcome, sources, rules, ...range }) =>
      [formatRange(family, range), outcome, sources.join(' '), ...rules].join(' | '),
    );

describe('the overview lists the destinations', () => {
  const rule = (chain: string, number: number) => `${chain} rule ${number} (iptables, table nat)`;

  test('that a rule masquerades, and those that it leaves out', () => {
    expect(linesOf(overview(iptablesTable('nat', '-A POSTROUTING ! -d 10.0.0.0/8 -j MASQUERADE')))).toEqual([
      `0.0.0.0-9.255.255.255 | masqueraded | 10.209.0.2 | ${rule('POSTROUTING', 1)}`,
      '10.0.0.0-10.132.0.0 | not-masqueraded | 10.132.0.10',
      '10.132.0.2-10.209.0.1 | not-masqueraded | 10.132.0.10',
      '10.209.0.3-10.255.255.255 | not-masqueraded | 10.132.0.10',
      `11.0.0.0-126.255.255.255 | masqueraded | 10.209.0.2 | ${rule('POSTROUTING', 1)}`,
      `128.0.0.0/1 | masqueraded | 10.209.0.2 | ${rule('POSTROUTING', 1)}`,
    ]);
  });

  test('by the rule that exempts them, and by the address that they see', () => {
    const sets =
      'create peers hash:net family inet\nadd peers 172.20.0.0/16\nadd peers 172.20.5.0/24 nomatch\n';
    const rules = natTable(
      '-A POSTROUTING -d 172.16.0.0/14 -j RETURN',
      '-A POSTROUTING -m set --match-set peers dst -j SNAT --to-source 198.51.100.7',
      '-A POSTROUTING -d 172.20.0.0/12 -j MASQUERADE',
    );
    expect(linesOf(overview(sets + rules)).filter((line) => line.startsWith('172.'))).toEqual([
      `172.16.0.0/14 | not-masqueraded | 10.132.0.10 | ${rule('POSTROUTING', 1)}`,
      `172.20.0.0-172.20.4.255 | masqueraded | 198.51.100.7 | ${rule('POSTROUTING', 2)}`,
      `172.20.5.0/24 | masqueraded | 10.209.0.2 | ${rule('POSTROUTING', 3)}`,
      `172.20.6.0-172.20.255.255 | masqueraded | 198.51.100.7 | ${rule('POSTROUTING', 2)}`,
      `172.21.0.0-172.31.255.255 | masqueraded | 10.209.0.2 | ${rule('POSTROUTING', 3)}`,
      '172.32.0.0-255.255.255.255 | not-masqueraded | 10.132.0.10',
    ]);
  });

  test('that are dropped, and those that depend on the port', () => {
    const filter = iptablesTable('filter', '-A FORWARD -d 192.0.2.0/24 -j DROP');
    const nat = natTable('-A POSTROUTING -d 192.0.2.0/23 -p tcp -m tcp --dport 443 -j MASQUERADE');
    expect(linesOf(overview(filter + nat)).filter((line) => line.startsWith('192.0.'))).toEqual([
      '192.0.2.0/24 | dropped |  | -A FORWARD -d 192.0.2.0/24 -j DROP',
      `192.0.3.0/24 | unknown | 10.209.0.2 10.132.0.10 | ${rule('POSTROUTING', 1)}`,
      '192.0.4.0-255.255.255.255 | not-masqueraded | 10.132.0.10',
    ]);
  });

  test('of IPv6', () => {
    const source = parseAddress('fd00:132::a');
    const route = '# peermasq: ip -6 route\ndefault via fd00:209::1 dev eth0\n';
    const dump = `${route}# peermasq: ip6tables-nft-save\n${natTable('-A POSTROUTING -d fd00:193::/32 -j MASQUERADE')}`;
    const { entries } = overviewOf(parseSnapshot(network + dump), { ...packet, source });
    expect(linesOf(entries, 6)).toContain(
      'fd00:193::/32 | masqueraded | fd00:209::2 | POSTROUTING rule 1 (iptables-nft, table nat)',
    );
  });
});

test('configured destinations are entries of their own', () => {
  const backend = { first: 0x0ac10000n, last: 0x0ac1ffffn };
  const snapshot = parseSnapshot(network + natTable('-A POSTROUTING -d 10.0.0.0/8 -j MASQUERADE'));
  const { entries } = overviewOf(snapshot, packet, [{ ...backend, name: 'backend' }]);
  const marked = entries.filter(({ peers }) => peers.length > 0);
  expect(marked).toMatchObject([{ ...backend, peers: ['backend'], outcome: 'masqueraded' }]);
});

describe('for random rules', () => {
  const octet = fc.constantFrom(0, 1, 16, 128, 193, 255);
  const cidr = fc
    .tuple(octet, octet, octet, fc.constantFrom(8, 12, 16, 17, 24, 31, 32))
    .map(([b, c, d, prefix]) => {
      const address = (10n << 24n) | (BigInt(b) << 16n) | (BigInt(c) << 8n) | BigInt(d);
      const hostBits = BigInt(32 - prefix);
      return `${formatAddress(4, (address >> hostBits) << hostBits)}/${prefix}`;
    });
  const match = fc
    .tuple(fc.constantFrom('', '! '), fc.constantFrom('-d', '-d', '-s'), cidr)
    .map((parts) => `${parts[0]}${parts[1]} ${parts[2]}`);
  const others = fc.constantFrom(
    '',
    '-m addrtype ! --dst-type LOCAL',
    '-o eth0',
    '-p udp',
    '-m mark --mark 0x1',
  );
  const target = fc.constantFrom('MASQUERADE', 'RETURN', 'ACCEPT', 'A', 'B', 'SNAT --to-source 198.51.100.7');
  const ruleIn = (chain: string, targets: fc.Arbitrary<string>) =>
    fc.tuple(match, others, targets).map((parts) => `-A ${chain} ${parts[0]} ${parts[1]} -j ${parts[2]}`);
  const rules = fc
    .tuple(
      fc.array(ruleIn('PREROUTING', fc.constantFrom('DNAT --to-destination 10.193.0.3', 'RETURN')), {
        maxLength: 2,
      }),
      fc.array(ruleIn('POSTROUTING', target), { maxLength: 5 }),
      fc.array(ruleIn('A', fc.constantFrom('MASQUERADE', 'RETURN', 'B')), { maxLength: 3 }),
      fc.array(ruleIn('B', fc.constantFrom('MASQUERADE', 'RETURN')), { maxLength: 3 }),
    )
    .map((lists) => natTable(...lists.flat()));

  test('every address has the treatment that explain finds for it alone', () => {
    fc.assert(
      fc.property(rules, fc.array(cidr, { minLength: 3, maxLength: 8 }), (table, addresses) => {
        const snapshot = parseSnapshot(network + table);
        const { entries } = overviewOf(snapshot, packet);
        for (const address of addresses) {
          const destination = parseAddress(address.split('/')[0] ?? '');
          const entry = entries.find((each) => contains([each], destination.value));
          const explanation = explain(snapshot, { ...packet, destination }, { assumeComplete: true });
          const { cause, sources } = explanation;
          const expected = cause === 'stays-on-node' ? [] : sources;
          expect([entry?.outcome, entry?.sources]).toEqual([outcomeOf(explanation), expected]);
        }
      }),
      { numRuns: 60 },
    );
  });

  function outcomeOf({ masqueraded, cause }: Explanation) {
    if (masqueraded === 'unknown' || cause === 'stays-on-node') return cause;
    return masqueraded ? 'masqueraded' : 'not-masqueraded';
  }
});

test('2,500 rules take less than 2 seconds of CPU', () => {
  const address = (index: number) => formatAddress(4, (10n << 24n) + BigInt(index * 4));
  const rules = Array.from(
    { length: 2_500 },
    (_, index) => `-A POSTROUTING -d ${address(index)} -j MASQUERADE`,
  );
  const began = process.cpuUsage();
  expect(overview(natTable(...rules)).length).toBeGreaterThan(5_000);
  const { user, system } = process.cpuUsage(began);
  expect((user + system) / 1e6).toBeLessThan(2);
});
test('a packet that the node receives, or drops, is unknown', () => {
  const raw = iptablesTable('raw', '-A PREROUTING -m owner --uid-owner 0 -j DROP');
  const dump = network + raw + natTable();
  const destination = parseAddress('10.132.0.1');
  const answer = explain(parseSnapshot(dump), { ...packet, destination }, { assumeComplete: true });
  expect(answer).toMatchObject({ masqueraded: 'unknown', cause: 'unknown', mayBeDropped: true });
  expect(answer.reason).toContain('the node receives it, or it is dropped');
  const listed = overview(raw + natTable()).find((entry) => contains([entry], destination.value));
  expect(listed).toMatchObject({ outcome: 'unknown', mayBeDropped: true });
});

test('an overview names what the dump does not show', () => {
  const { notShown } = overviewOf(parseSnapshot(network + natTable()), packet);
  expect(notShown).toContain("nft's own tables");
  const complete = ['iptables-nft-save', 'iptables-legacy-save', 'nft -j list ruleset', 'ip rule'];
  const dump = complete.map((command) => `# peermasq: ${command}\n`).join('');
  expect(overviewOf(parseSnapshot(`# peermasq: ip route\n${network}${dump}`), packet).notShown).toEqual([]);
});
