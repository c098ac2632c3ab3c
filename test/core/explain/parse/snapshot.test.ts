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

describe('a table that the dump does not show makes the result unknown', () => {
  test.each([
    {
      missing: 'IPv6, with rules of IPv4 only',
      dump: nat,
      endpoints: ipv6Endpoints,
      reason: 'add the output of `ip6tables-save`',
    },
    {
      missing: 'table nat, in a dump with only table filter',
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
      missing: 'iptables-save failed on the node',
      dump: '# peermasq: iptables-nft-save failed\n# peermasq: iptables-legacy-save\n',
      reason: 'add the output of `iptables-nft-save`',
    },
    {
      missing: 'nft failed on the node',
      dump: '# peermasq: iptables-nft-save\n# peermasq: nft -j list ruleset failed\n',
      reason: 'add the output of `nft -j list ruleset`',
    },
    {
      missing: 'tables of iptables-legacy that iptables-nft warns about',
      dump: `# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n${natTable()}`,
      reason: 'add the output of `iptables-legacy-save`',
    },
  ])('$missing', ({ dump, endpoints, reason }) => {
    const [from, to] = endpoints ?? [];
    const explained = explainDump(network + dump, from, to);
    expect(explained).toMatchObject({ masqueraded: 'unknown', source: null, cause: 'unknown', fix: null });
    expect(explained.reason).toMatch(/^Depends on .*, which is not in the dump: /);
    expect(explained.reason).toContain(reason);
  });
});

describe('the result is certain', () => {
  test.each([
    ['with table nat', nat, true],
    ['with a line that names the program, and no table', '# peermasq: iptables-nft-save\n', false],
    ['with JSON of nft, and no table', nftRuleset(), false],
    [
      'for IPv4, if only table nat of IPv6 is partly shown',
      header4 + emptyNat + partlyShown + header6 + emptyNat,
      false,
    ],
    [
      'if nft shows a table that iptables-nft does not',
      notShown + nftTable('nat', nftToPrivateRange, nftMasquerade),
      true,
    ],
    [
      'if nft shows the chains that iptables-nft does not',
      partlyShown + header4 + emptyNat + nftTable('nat', nftToPrivateRange, nftMasquerade),
      true,
    ],
    [
      'if nft has a table beside an empty table nat',
      emptyNat + nftTable('kube-proxy', nftToPrivateRange, nftMasquerade),
      true,
    ],
  ] as const)('%s', (_, dump, expected) => {
    expect(explainDump(network + dump).masqueraded).toBe(expected);
  });
});

describe('the flags of an nft table', () => {
  const withFlags = (flags: unknown, dump: string) =>
    network + dump.replace('"name":"own"}', `"name":"own","flags":${JSON.stringify(flags)}}`);
  const masquerading = nftTable('own', nftToPrivateRange, nftMasquerade);
  // nft 1.0.6 prints this for `dormant`.
  const invalid = 'Lester Gooch #5';

  test.each([
    ['dormant: not in force', 'dormant', false],
    ['owner: in force', ['owner'], true],
    ['invalid: may be in force', invalid, 'unknown'],
  ])('%s', (_, flags, expected) => {
    expect(explainDump(withFlags(flags, masquerading)).masqueraded).toBe(expected);
  });

  test('invalid: a drop policy may be in force', () => {
    const policy = nftBaseChain('ip', 'own', { type: 'filter', policy: 'drop' });
    const dump = nftRuleset({ table: { family: 'ip', name: 'own' } }, policy);
    expect(explainDump(withFlags(invalid, dump)).mayBeDropped).toBe(true);
  });
});

describe('the parts of a dump may come in any order', () => {
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
])('a match of nft reads as nft prints it: $text', ({ text, op, left, right }) => {
  const { path } = explainDump(network + nftTable('own', nftMatch(left, right, op), nftMasquerade));
  expect(path[0]?.text).toBe(`${text} masquerade`);
});
