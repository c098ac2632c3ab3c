import { describe, expect, test } from '@jest/globals';
import { parseAddress } from '../../../../shared/core/model/cidr';
import { explain } from '../../../../shared/core/explain/explain';
import { parseSnapshot } from '../../../../shared/core/explain/parse/snapshot';
import { iptablesTable, natTable, network, packet } from '../dump-builder';

const lastingFix = (dump: string, want: 'masqueraded' | 'direct', to = '10.193.0.3') =>
  explain(
    parseSnapshot(network + dump),
    { ...packet, destination: parseAddress(to) },
    { want, assumeComplete: true },
  ).lastingFix;

const inChain = (chain: string, ...rules: readonly string[]) =>
  `*nat\n:POSTROUTING ACCEPT [0:0]\n:${chain} - [0:0]\n-A POSTROUTING -j ${chain}\n${rules
    .map((rule) => `-A ${chain} ${rule}\n`)
    .join('')}COMMIT\n`;

const exempt = ['-d 10.0.0.0/8 -j RETURN', '-j MASQUERADE'];

describe('the owner of the deciding rule names its own configuration:', () => {
  test.each([
    ['ip-masq-agent', inChain('IP-MASQ-AGENT', ...exempt), 'nonMasqueradeCIDRs'],
    ['ip-masq-agent', inChain('IP-MASQ', ...exempt), 'DaemonSet ip-masq-agent'],
    [
      'Amazon VPC CNI',
      inChain(
        'AWS-SNAT-CHAIN-0',
        '-d 10.0.0.0/8 -m comment --comment "AWS SNAT CHAIN" -j RETURN',
        exempt[1] ?? '',
      ),
      'AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS',
    ],
    ['Calico', inChain('cali-nat-outgoing', '! -d 10.0.0.0/8 -j MASQUERADE'), 'natOutgoing: true'],
    ['Cilium', inChain('CILIUM_POST_nat', '! -d 10.0.0.0/8 -j MASQUERADE'), 'ipv4-native-routing-cidr'],
    ['flannel', inChain('FLANNEL-POSTRTG', ...exempt), '--ip-masq'],
    [
      'kubenet',
      natTable(
        '-A POSTROUTING ! -d 10.0.0.0/8 -m comment --comment "kubenet: SNAT for outbound traffic" -j MASQUERADE',
      ),
      '--non-masquerade-cidr',
    ],
    [
      'CNI plugin',
      inChain('CNI-456f6a8fdd44', '-d 10.193.0.0/16 -j ACCEPT', '-j MASQUERADE'),
      '"ipMasq": true',
    ],
    [
      'peermasq',
      inChain('PEERMASQ', '-d 10.193.0.0/24 -j RETURN', '-d 10.193.0.0/16 -j MASQUERADE'),
      'peermasq.yaml',
    ],
  ])('%s', (owner, dump, advice) => {
    const fix = lastingFix(dump, 'masqueraded');
    expect(fix).toMatchObject({ owner, advice: expect.stringContaining(advice) });
    expect(fix?.advice).toContain(owner === 'Amazon VPC CNI' ? 'aws-node' : '10.193.0.3');
  });
});

describe('to keep the pod’s address, the owner of the masquerading rule names its exemptions:', () => {
  test.each([
    ['ip-masq-agent', inChain('IP-MASQ-AGENT', '-j MASQUERADE'), 'nonMasqueradeCIDRs'],
    [
      'Amazon VPC CNI',
      inChain('AWS-SNAT-CHAIN-0', '-m comment --comment "AWS, SNAT" -j SNAT --to-source 10.209.0.2'),
      'AWS_VPC_K8S_CNI_EXTERNALSNAT',
    ],
    ['Calico', inChain('cali-nat-outgoing', '-j MASQUERADE'), 'disabled: true'],
    ['Cilium', inChain('CILIUM_POST_nat', '-j MASQUERADE'), 'nonMasqueradeCIDRs'],
    ['flannel', inChain('FLANNEL-POSTRTG', '-j MASQUERADE'), 'without --ip-masq'],
    ['CNI plugin', inChain('CNI-456f6a8fdd44', '-j MASQUERADE'), '"ipMasq": false'],
    [
      'kOps',
      inChain(
        'CNI-456f6a8fdd44',
        String.raw`-m comment --comment "name: \"kubenet\" id: \"e447\"" -j MASQUERADE`,
      ),
      'nonMasqueradeCIDR',
    ],
    ['Docker', natTable('-A POSTROUTING -s 10.132.0.0/24 ! -o docker0 -j MASQUERADE'), '"ip-masq": false'],
    ['peermasq', inChain('PEERMASQ', '-d 10.193.0.0/16 -j MASQUERADE'), 'except'],
  ])('%s', (owner, dump, advice) => {
    expect(lastingFix(dump, 'direct')).toMatchObject({ owner, advice: expect.stringContaining(advice) });
  });
});

test('a CNI plugin without masquerade rules of its own is the owner', () => {
  const mangle = iptablesTable('mangle', '-A PREROUTING -m comment --comment "AWS, primary ENI" -j ACCEPT');
  expect(lastingFix(natTable() + mangle, 'masqueraded')).toMatchObject({
    owner: 'Amazon VPC CNI',
    advice: expect.stringContaining('AWS_VPC_K8S_CNI_EXTERNALSNAT to false'),
  });
});

test('rules that no known program writes have no owner', () => {
  expect(lastingFix(natTable('-A POSTROUTING ! -d 10.0.0.0/8 -j MASQUERADE'), 'masqueraded')).toBeNull();
});
