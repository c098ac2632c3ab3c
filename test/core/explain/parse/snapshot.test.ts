import { describe, expect, test } from '@jest/globals';
import {
  explainDump,
  iptablesHeader,
  iptablesTable,
  ipv6Endpoints,
  natTable,
  network,
  nftBaseChain,
  nftMasquerade,
  nftMatch,
  nftRuleset,
  nftTable,
  nftToPrivateRange,
  payload,
} from '../dump-builder';

const nat = iptablesTable('nat', '-A POSTROUTING -d 10.0.0.0/8 -j MASQUERADE');
const emptyNat = iptablesTable('nat');
const partlyShown = "# Table `nat' contains incompatible base-chains, use 'nft' tool to list them.\n";
const notShown = "# Table `nat' is incompatible, use 'nft' tool.\n";
const header4 = iptablesHeader('iptables-nft-save');
const header6 = iptablesHeader('ip6tables-nft-save');

describe('the result is unknown when the dump does not show', () => {
  test.each([
    {
      missing: 'IPv6 tables, because it contains only IPv4 rules',
      dump: nat,
      endpoints: ipv6Endpoints,
      reason: 'add the output of `ip6tables-save`',
    },
    {
      missing: 'table nat, because it contains only table filter',
      dump: iptablesTable('filter'),
      reason: 'add the output of `iptables-save`',
    },
    {
      missing: 'a table that iptables-nft cannot print',
      dump: iptablesTable('filter') + notShown,
      reason: 'add the output of `nft -j list ruleset`',
    },
    {
      missing: 'chains that nft added to a table of iptables-nft',
      dump: partlyShown + header4 + emptyNat,
      reason: 'chains that nft added to table nat of iptables-nft',
    },
    {
      missing: 'chains that nft added to a table of ip6tables-nft',
      dump: header4 + nat + partlyShown + header6 + emptyNat,
      endpoints: ipv6Endpoints,
      reason: 'table nat of ip6tables-nft',
    },
    {
      missing: 'the tables of iptables, because iptables-save failed on the node',
      dump: '# peermasq: iptables-nft-save failed\n# peermasq: iptables-legacy-save\n',
      reason: 'add the output of `iptables-nft-save`',
    },
    {
      missing: 'the tables of nft, because nft failed on the node',
      dump: '# peermasq: iptables-nft-save\n# peermasq: nft -j list ruleset failed\n',
      reason: 'add the output of `nft -j list ruleset`',
    },
    {
      missing: 'the iptables-legacy tables that iptables-nft warns about',
      dump: `# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n${natTable()}`,
      reason: 'add the output of `iptables-legacy-save`',
    },
  ])('$missing', ({ dump, endpoints, reason }) => {
    const [from, to] = endpoints ?? [];
    const explained = explainDump(network + dump, from, to);
    expect(explained).toMatchObject({ masqueraded: 'unknown', source: null, cause: 'unknown', fix: null });
    expect(explained.reason).toMatch(/^Depends on .*, which the dump does not contain: /);
    expect(explained.reason).toContain(reason);
  });
});

describe('the result is certain when the dump contains', () => {
  test.each([
    ['table nat', nat, true],
    ['only a line that names the program', '# peermasq: iptables-nft-save\n', false],
    ['only JSON from nft, without any table', nftRuleset(), false],
    [
      'all IPv4 tables, but only part of the IPv6 table nat',
      header4 + emptyNat + partlyShown + header6 + emptyNat,
      false,
    ],
    [
      'an nft table that iptables-nft does not show',
      notShown + nftTable('nat', nftToPrivateRange, nftMasquerade),
      true,
    ],
    [
      'the nft chains that iptables-nft does not show',
      partlyShown + header4 + emptyNat + nftTable('nat', nftToPrivateRange, nftMasquerade),
      true,
    ],
    [
      'an nft table in addition to an empty table nat',
      emptyNat + nftTable('kube-proxy', nftToPrivateRange, nftMasquerade),
      true,
    ],
  ] as const)('%s', (_, dump, expected) => {
    expect(explainDump(network + dump).masqueraded).toBe(expected);
  });
});

describe('in an nft table with flags,', () => {
  const withFlags = (flags: unknown, dump: string) =>
    network + dump.replace('"name":"own"}', `"name":"own","flags":${JSON.stringify(flags)}}`);
  const masquerading = nftTable('own', nftToPrivateRange, nftMasquerade);
  // nft 1.0.6 prints this in place of the flag `dormant`.
  const invalid = 'Lester Gooch #5';

  test.each([
    ['a base chain is not in force if the flag is dormant', 'dormant', false],
    ['a base chain is in force if the flag is owner', ['owner'], true],
    ['a base chain may be in force if the flag is unreadable', invalid, 'unknown'],
  ])('%s', (_, flags, expected) => {
    expect(explainDump(withFlags(flags, masquerading)).masqueraded).toBe(expected);
  });

  test('a drop policy may be in force if the flag is unreadable', () => {
    const policy = nftBaseChain('ip', 'own', { type: 'filter', policy: 'drop' });
    const dump = nftRuleset({ table: { family: 'ip', name: 'own' } }, policy);
    expect(explainDump(withFlags(invalid, dump)).mayBeDropped).toBe(true);
  });
});

describe('the parts of a dump may come in any order:', () => {
  const ruleset = nftTable('own', nftToPrivateRange, nftMasquerade);
  const indented = `${JSON.stringify(JSON.parse(ruleset), null, 2)}\n`;
  test.each([
    ['JSON before addresses', ruleset + network],
    ['JSON after addresses', network + ruleset],
    ['indented JSON before addresses', indented + network],
    ['a byte order mark first', `\ufeff${ruleset}${network}`],
  ])('%s', (_, dump) => {
    expect(explainDump(dump)).toMatchObject({ masqueraded: true, source: '10.209.0.2' });
  });
});

test.each([
  { text: 'ip length > 10', op: '>', left: payload('ip', 'length'), right: 10 },
  { text: 'meta length != 10', op: '!=', left: { meta: { key: 'length' } }, right: 10 },
  {
    text: 'ip daddr . tcp dport { 10.0.0.1 . 80 }',
    op: '==',
    left: { concat: [payload('ip', 'daddr'), payload('tcp', 'dport')] },
    right: { set: [{ concat: ['10.0.0.1', 80] }] },
  },
  {
    text: 'tcp flags & (fin | syn) syn',
    op: '==',
    left: { '&': [payload('tcp', 'flags'), ['fin', 'syn']] },
    right: 'syn',
  },
])('a match in nft is shown as nft prints it: $text', ({ text, op, left, right }) => {
  const { path } = explainDump(network + nftTable('own', nftMatch(left, right, op), nftMasquerade));
  expect(path[0]?.text).toBe(`${text} masquerade`);
});
