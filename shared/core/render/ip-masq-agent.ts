import { Document } from 'yaml';
import { aggregate, parseCidr, subtract, type Cidr } from '../model/cidr';
import type { RuleSet } from '../model/rule-set';

/** What ip-masq-agent leaves alone unless told (kubernetes-sigs/ip-masq-agent, README: RFC 1918). */
const defaultRanges = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'].map(parseCidr);

/**
 * A rule set as the config of ip-masq-agent, for clusters that run it: it names what is not masqueraded, so the
 * destinations are cut out of the private ranges. It knows neither sources nor interfaces.
 * @returns YAML: a ConfigMap. IPv4 alone: that is what the agent does unless it is told otherwise.
 */
export function renderIpMasqAgent({ destinations, exemptions }: RuleSet): string {
  const isIpv4 = ({ family }: Cidr) => family === 4;
  const cidrsOf = (all: readonly { readonly cidr: Cidr }[]) => all.map(({ cidr }) => cidr).filter(isIpv4);
  const destinationCidrs = cidrsOf(destinations);
  const remaining = [
    ...defaultRanges.flatMap((range) => subtract(range, destinationCidrs)),
    ...cidrsOf(exemptions),
  ];
  const nonMasqueradeCIDRs = aggregate(remaining.map((cidr) => ({ cidr }))).map(({ cidr }) => cidr.text);
  const config = new Document({ nonMasqueradeCIDRs, masqLinkLocal: false, resyncInterval: '60s' });
  return new Document({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'ip-masq-agent', namespace: 'kube-system' },
    data: { config: config.toString() },
  }).toString({ lineWidth: 0 });
}
