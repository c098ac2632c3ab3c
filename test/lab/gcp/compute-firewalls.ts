import { invalid } from './compute-input';
import { vmOf } from './compute-instances';
import { aggregated, aggregatedQuery, type Call, type Method } from './compute-method';
import { networkOf } from './compute-networks';
import { firewallResource, forwardingRuleResource } from './compute-resources';
import { networkUrl, type Firewall, type FirewallPolicy, type GoogleCloud, type Network } from './state';

export const firewallMethods = (cloud: GoogleCloud): Method[] => [
  {
    name: 'compute.instances.getEffectiveFirewalls',
    verb: 'GET',
    path: 'projects/{project}/zones/{zone}/instances/{instance}/getEffectiveFirewalls',
    query: ['networkInterface'],
    handle: (call) => firewallsOfVm(cloud, call),
  },
  {
    name: 'compute.networks.getEffectiveFirewalls',
    verb: 'GET',
    path: 'projects/{project}/global/networks/{network}/getEffectiveFirewalls',
    query: [],
    handle: (call) => {
      const network = networkOf(cloud, call);
      return effective(firewallsOf(cloud, network), network.firewallPolicies ?? []);
    },
  },
  {
    name: 'compute.forwardingRules.aggregatedList',
    verb: 'GET',
    path: 'projects/{project}/aggregated/forwardingRules',
    query: aggregatedQuery,
    handle: (call) =>
      aggregated(
        cloud,
        call,
        cloud.forwardingRules,
        'forwardingRules',
        ({ region }) => `regions/${region}`,
        forwardingRuleResource,
        { IPAddress: ({ IPAddress }) => [IPAddress] },
      ),
  },
];

/** Only the rules that are for the instance. */
function firewallsOfVm(cloud: GoogleCloud, { params, query }: Call): unknown {
  const vm = vmOf(cloud, params);
  const [, index = ''] = /^nic(\d)$/.exec(query.get('networkInterface') ?? '') ?? [];
  const nic = vm.networkInterfaces[Number(index || Number.NaN)];
  if (!nic) throw invalid(`Invalid value for field 'networkInterface': '${query.get('networkInterface')}'.`);
  const network = cloud.networks.find(({ project, name }) => networkUrl(project, name) === nic.network);
  if (!network) return effective([], []);
  const names = [...vm.tags, ...(vm.serviceAccounts ?? []).map(({ email }) => email)];
  const isFor = (targets: readonly string[]) =>
    targets.length === 0 || targets.some((target) => names.includes(target));
  const rules = firewallsOf(cloud, network).filter((rule) =>
    isFor([...(rule.targetTags ?? []), ...(rule.targetServiceAccounts ?? [])]),
  );
  const policies = (network.firewallPolicies ?? []).map((policy) => ({
    ...policy,
    rules: policy.rules.filter(({ targetServiceAccounts }) => isFor(targetServiceAccounts ?? [])),
  }));
  return effective(rules, policies);
}

const firewallsOf = ({ firewalls }: GoogleCloud, { project, name }: Network): Firewall[] =>
  firewalls.filter((rule) => rule.project === project && rule.network === name);

const effective = (firewalls: readonly Firewall[], firewallPolicys: readonly FirewallPolicy[]): unknown => ({
  firewalls: firewalls.map(firewallResource),
  firewallPolicys,
});
