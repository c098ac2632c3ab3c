import { Document } from 'yaml';
import { mergeCidrs, parseCidr, subtract, type Cidr } from '../model/cidr';
import type { RuleSet } from '../model/rule-set';

/** The ranges that ip-masq-agent exempts from masquerading by default (kubernetes-sigs/ip-masq-agent, README). */
const defaultRanges = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'].map(parseCidr);

/**
 * Renders a rule set as a ConfigMap for ip-masq-agent. The agent's config lists the ranges that are not masqueraded,
 * so the destinations are subtracted from the private ranges. The agent has no settings for sources and interfaces,
 * and handles only IPv4 by default.
 */
export function renderIpMasqAgent({ destinations, exemptions }: RuleSet): string {
  const isIpv4 = ({ family }: Cidr) => family === 4;
  const cidrsOf = (all: readonly { readonly cidr: Cidr }[]) => all.map(({ cidr }) => cidr).filter(isIpv4);
  const destinationCidrs = cidrsOf(destinations);
  const remaining = [
    ...defaultRanges.flatMap((range) => subtract(range, destinationCidrs)),
    ...cidrsOf(exemptions),
  ];
  const nonMasqueradeCIDRs = mergeCidrs(remaining).map(({ text }) => text);
  const config = new Document({ nonMasqueradeCIDRs, masqLinkLocal: false, resyncInterval: '60s' });
  return new Document({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'ip-masq-agent', namespace: 'kube-system' },
    data: { config: config.toString() },
  }).toString({ lineWidth: 0 });
}
