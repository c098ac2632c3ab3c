import { type Environment, peerRange, type Uplink } from './environment';
import { vpcCni, type VpcCniPod, type VpcCniSettings } from './vpc-cni';

const vpcRange = '10.0.0.0/16';
const podRange = '100.64.0.0/16';
const nodeAddress = '10.0.0.10';

const vpcPods = [
  'option steer',
  `source ${vpcRange}`,
  `exempt ${vpcRange} network`,
  `masquerade ${peerRange} pcx`,
  'probe 10.193.0.3:8080',
];
const secondaryRangePods = [
  'option steer',
  `source ${podRange}`,
  `exempt ${vpcRange} network`,
  `exempt ${podRange} pods`,
  `masquerade ${peerRange} pcx`,
  'probe 10.193.0.3:8080',
];

const primaryEni = (assigned: readonly string[]): Uplink => ({
  device: 'eth0',
  subnet: '10.0.0.0/24',
  address: nodeAddress,
  assigned,
});
const secondaryEni: Uplink = {
  device: 'eth1',
  subnet: '10.0.0.0/24',
  address: '10.0.0.11',
  assigned: ['10.0.0.30', '10.0.0.31'],
};

/** Returns a pod with an address in the VPC's main range, on either ENI. */
const onVpc = (eni: 0 | 1, seen: (address: string) => string): VpcCniPod => {
  const address = eni === 0 ? '10.0.0.20' : '10.0.0.30';
  const source = seen(address);
  return {
    name: eni === 0 ? 'primary' : 'secondary',
    eni,
    address,
    device: `eni${eni}f2a7c3d9b1`,
    peer: { before: source, after: nodeAddress },
    internet: source,
  };
};

export function onVpcPods(settings: Omit<VpcCniSettings, 'vpcRanges'>) {
  const seen = settings.externalSnat ? (address: string) => address : () => nodeAddress;
  const uplinks = [primaryEni(['10.0.0.20']), secondaryEni] as const;
  const pods = [onVpc(0, seen), onVpc(1, seen)];
  return {
    uplinks,
    pods,
    network: vpcCni({ settings: { vpcRanges: [vpcRange], ...settings }, enis: uplinks, pods }),
    peer: { routes: [vpcRange], reachesPods: true },
    ruleSet: vpcPods,
  } satisfies Partial<Environment>;
}

const eksDefault: Environment = {
  name: 'EKS with its default settings',
  ...onVpcPods({}),
  expected: { proven: true, basis: ['cni'] },
};

const externalSnat: Environment = {
  name: 'EKS with external SNAT, pods in the subnet of the node',
  ...onVpcPods({ externalSnat: true }),
  expected: { proven: true },
};

/** Pods on a secondary ENI, whose subnet is in a range that only the VPC knows. */
export function customNetworking(settings: Omit<VpcCniSettings, 'vpcRanges'>) {
  const { externalSnat, excludeSnatCidrs } = settings;
  const isSnat = !externalSnat && !excludeSnatCidrs;
  const uplinks = [
    primaryEni([]),
    {
      device: 'eth1',
      subnet: '100.64.0.0/24',
      address: '100.64.0.10',
      // The addresses of the pods, or a prefix that is delegated to the ENI.
      assigned: settings.prefixDelegation ? ['100.64.0.16/28'] : ['100.64.0.20', '100.64.0.21'],
    },
  ] as const;
  const pods: VpcCniPod[] = ['100.64.0.20', '100.64.0.21'].map((address, i) => ({
    name: `pod-${i}`,
    eni: 1,
    address,
    device: `eni${i}a3b4c5d6e7f`,
    peer: { before: isSnat ? nodeAddress : 'dropped', after: nodeAddress },
    internet: externalSnat ? address : nodeAddress,
  }));
  return {
    uplinks,
    pods,
    network: vpcCni({ settings: { vpcRanges: [vpcRange, podRange], ...settings }, enis: uplinks, pods }),
    peer: { routes: [vpcRange] },
    ruleSet: secondaryRangePods,
  };
}

const customNetworkingExternalSnat: Environment = {
  name: 'EKS with custom networking and external SNAT',
  ...customNetworking({ externalSnat: true }),
  expected: { proven: true },
};

const customNetworkingDefault: Environment = {
  name: 'EKS with custom networking',
  ...customNetworking({}),
  expected: { proven: true, basis: ['cni'] },
};

const olderCni: Environment = {
  name: 'EKS with custom networking and external SNAT, where addresses of ENIs have no ip rules',
  ...customNetworking({ externalSnat: true, eniAddressRules: false }),
  expected: { proven: true },
};

/** One pod on a branch ENI and one on a secondary ENI. Neither ENI is in the node's subnet. */
export function podSecurityGroups(settings: Pick<VpcCniSettings, 'enforcingMode' | 'externalSnat'>) {
  const seen = (address: string) => (settings.externalSnat ? address : nodeAddress);
  const branch: Uplink = { device: 'vlan.eth.1', subnet: '10.0.1.0/24', assigned: ['10.0.1.40'] };
  const secondary: Uplink = {
    device: 'eth1',
    subnet: '10.0.2.0/24',
    address: '10.0.2.10',
    assigned: ['10.0.2.20'],
  };
  const pods: VpcCniPod[] = [
    {
      name: 'branch',
      branch,
      vlan: 1,
      address: '10.0.1.40',
      device: settings.enforcingMode === 'strict' ? 'vlan0123456789a' : 'eni0123456789a',
      peer: { before: seen('10.0.1.40'), after: seen('10.0.1.40') },
      internet: seen('10.0.1.40'),
    },
    {
      name: 'secondary',
      eni: 1,
      address: '10.0.2.20',
      device: 'eni1f2a7c3d9b1',
      peer: { before: seen('10.0.2.20'), after: nodeAddress },
      internet: seen('10.0.2.20'),
    },
  ];
  return {
    uplinks: [primaryEni([]), secondary, branch],
    pods,
    network: vpcCni({
      settings: { vpcRanges: [vpcRange], ...settings },
      enis: [primaryEni([]), secondary],
      pods,
    }),
    peer: { routes: [vpcRange], reachesPods: true },
    ruleSet: [
      'option steer',
      'source 10.0.1.0/24',
      'source 10.0.2.0/24',
      `exempt ${vpcRange} network`,
      `masquerade ${peerRange} pcx`,
      'probe 10.193.0.3:8080',
    ],
  } satisfies Partial<Environment>;
}

const securityGroupsStrict: Environment = {
  name: 'EKS with security groups for pods, strict mode',
  ...podSecurityGroups({ enforcingMode: 'strict', externalSnat: true }),
  // The pod on the branch ENI keeps its address. The node cannot know whether the peer has a route to that address.
  expected: {},
};

export const eks = [
  eksDefault,
  externalSnat,
  customNetworkingExternalSnat,
  olderCni,
  customNetworkingDefault,
  securityGroupsStrict,
];
