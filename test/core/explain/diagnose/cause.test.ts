import { describe, expect, test } from '@jest/globals';
import {
  explainDump,
  iptablesTable,
  natTable,
  network,
  nftBaseChain,
  nftMasquerade,
  nftMatch,
  nftRule,
  nftRuleset,
  nftTable,
  payload,
} from '../dump-builder';

const ownTableFix =
  "nft 'add table ip manual-masquerade; add chain ip manual-masquerade postrouting { type nat hook postrouting priority 99; }; insert rule ip manual-masquerade postrouting ip saddr 10.132.0.10 ip daddr 10.193.0.3 fib daddr type != local masquerade'";

const explainNat = (...rules: readonly string[]) => explainDump(network + natTable(...rules));

describe('the closest match is shown with the reason why it was skipped:', () => {
  test.each([
    ['! -d 10.0.0.0/8', 'the destination is inside 10.0.0.0/8'],
    ['-d 10.194.0.0/16', 'the destination is not inside 10.194.0.0/16'],
    ['-d 10.193.0.4/32', 'the destination is not 10.193.0.4'],
    ['-m iprange --dst-range 10.0.0.1-10.0.0.9', 'the destination is not inside 10.0.0.1-10.0.0.9'],
    ['-s 10.132.0.11/32', 'the source is not 10.132.0.11'],
    ['-o eth1', 'it does not leave through eth1'],
    ['! -o eth+', 'it leaves through eth+'],
    ['-m mark --mark 0x4000/0x4000', '--mark 0x4000/0x4000 does not match (packet mark 0x0)'],
    ['-p udp', '-p udp does not match (protocol tcp)'],
    ['-s 10.132.0.11/32 -o eth1', 'the source is not 10.132.0.11 and it does not leave through eth1'],
  ])('%s', (match, reason) => {
    const rule = `-A POSTROUTING ${match} -j MASQUERADE`;
    expect(explainNat(rule)).toMatchObject({
      cause: 'no-rule',
      reason: `No rule masquerades the packet. Closest match: POSTROUTING rule 1 (iptables, table nat), skipped because ${reason}: ${rule}`,
    });
  });

  test('the closest match in nft is shown with its chain and table', () => {
    const elsewhere = nftMatch(payload('ip', 'daddr'), { prefix: { addr: '10.0.0.0', len: 8 } }, '!=');
    expect(explainDump(network + nftTable('own', elsewhere, nftMasquerade)).reason).toBe(
      'No rule masquerades the packet. Closest match: post rule 1 (nft, table ip own), skipped because the destination is inside 10.0.0.0/8: ip daddr != 10.0.0.0/8 masquerade',
    );
  });

  test('of several rules, the closest match is the one that differs only in the destination', () => {
    const { reason } = explainNat(
      '-A POSTROUTING -o eth1 -j MASQUERADE',
      '-A POSTROUTING ! -d 10.0.0.0/8 -j MASQUERADE',
      '-A POSTROUTING -p udp -o eth1 -j MASQUERADE',
    );
    expect(reason).toContain('Closest match: POSTROUTING rule 2 ');
  });
});

describe('a packet that a raw rule excludes from conntrack', () => {
  const explainRaw = (rule: string, ...nat: readonly string[]) =>
    explainDump(network + natTable(...nat) + iptablesTable('raw', rule));

  test('is untracked, and the fix lets this packet skip that raw rule', () => {
    expect(
      explainRaw('-A PREROUTING -s 10.132.0.10/32 -j CT --notrack', '-A POSTROUTING -j MASQUERADE'),
    ).toMatchObject({
      masqueraded: false,
      cause: 'untracked',
      reason:
        'Untracked: PREROUTING rule 1 (iptables, table raw) excludes the packet from conntrack, and untracked packets are never masqueraded: -A PREROUTING -s 10.132.0.10/32 -j CT --notrack. Without it, POSTROUTING rule 1 (iptables, table nat) would masquerade: -A POSTROUTING -j MASQUERADE',
      fix: 'iptables -t raw -I PREROUTING 1 -s 10.132.0.10/32 -d 10.193.0.3/32 -j ACCEPT',
    });
  });

  test('is tracked if the raw rule matches only other packets', () => {
    const { cause } = explainRaw('-A PREROUTING -s 10.132.0.11/32 -j NOTRACK', '-A POSTROUTING -j A');
    expect(cause).toBe('no-rule');
  });

  test('is untracked in nft, and if no rule would masquerade it, the fix adds one', () => {
    const dump = nftRuleset(
      { table: { family: 'ip', name: 'own' } },
      nftBaseChain('ip', 'own', { type: 'filter', hook: 'prerouting', prio: -300 }),
      { rule: { ...nftRule('ip', 'own', { notrack: null }).rule, handle: 7 } },
    );
    expect(explainDump(network + dump)).toMatchObject({
      cause: 'untracked',
      fix: `nft insert rule ip own post ip saddr 10.132.0.10 ip daddr 10.193.0.3 accept && ${ownTableFix}`,
    });
  });
});

test("if peermasq's rules are in a backend that the kubelet does not use, the packet is masqueraded, but the backend is reported as wrong", () => {
  const legacy =
    '# peermasq: iptables-legacy-save\n*nat\n:POSTROUTING ACCEPT [0:0]\n:PEERMASQ - [0:0]\n-A POSTROUTING -j PEERMASQ\n-A PEERMASQ -d 10.193.0.0/16 -j MASQUERADE\nCOMMIT\n';
  const nft =
    '# peermasq: iptables-nft-save\n*mangle\n:PREROUTING ACCEPT [0:0]\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n';
  expect(explainDump(legacy + nft)).toMatchObject({
    masqueraded: true,
    cause: 'wrong-backend',
    fix: expect.stringMatching(/^iptables-nft /),
  });
});

test('the fix for a dump that contains only JSON from nft is an nft command', () => {
  expect(explainDump(network + nftRuleset()).fix).toBe(ownTableFix);
});

describe('for a packet that a chain of nft drops, the fix', () => {
  const dropIn = (table: string) =>
    nftRuleset(
      { table: { family: 'inet', name: table } },
      nftBaseChain('inet', table, { type: 'filter', hook: 'forward', prio: 0 }),
      nftRule('inet', table, { drop: null }),
    );

  test('accepts the packet and its replies in that chain', () => {
    expect(explainDump(network + dropIn('fw'), '10.132.0.10', '203.0.113.7')).toMatchObject({
      cause: 'dropped',
      reason: 'Dropped on the node by post rule 1 (nft, table inet fw): drop.',
      fix: expect.stringContaining(
        'nft insert rule inet fw post ip saddr 10.132.0.10 ip daddr 203.0.113.7 tcp dport 443 accept && nft insert rule inet fw post ip daddr 10.132.0.10 ct state established,related accept',
      ),
    });
  });

  test('is left out if a name is not safe in a shell', () => {
    const { cause, fix } = explainDump(network + dropIn('fw; reboot'));
    expect({ cause, fix }).toEqual({ cause: 'dropped', fix: null });
  });
});
