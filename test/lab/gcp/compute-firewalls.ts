import { invalid } from './compute-input';
import { findVm } from './compute-instances';
import { listAggregated, aggregatedQuery, type MethodCall, type Method } from './compute-method';
import { findNetwork } from './compute-networks';
import { firewallResource, forwardingRuleResource } from './compute-resources';
import {
  networkUrl,
  type LabFirewall,
  type LabFirewallPolicy,
  type GcpState,
  type LabNetwork,
} from './state';

export const firewallMethods = (cloud: GcpState): Method[] => [
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
      const network = findNetwork(cloud, call);
      return effective(firewallsOf(cloud, network), network.firewallPolicies ?? []);
    },
  },
  {
    name: 'compute.forwardingRules.aggregatedList',
    verb: 'GET',
    path: 'projects/{project}/aggregated/forwardingRules',
    query: aggregatedQuery,
    handle: (call) =>
      listAggregated(
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

/** Returns only the rules that apply to the instance. */
function firewallsOfVm(cloud: GcpState, { params, query }: MethodCall): unknown {
  const vm = findVm(cloud, params);
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

const firewallsOf = ({ firewalls }: GcpState, { project, name }: LabNetwork): LabFirewall[] =>
  firewalls.filter((rule) => rule.project === project && rule.network === name);

const effective = (
  firewalls: readonly LabFirewall[],
  firewallPolicys: readonly LabFirewallPolicy[],
): unknown => ({
  firewalls: firewalls.map(firewallResource),
  firewallPolicys,
});
