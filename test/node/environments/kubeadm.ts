import { bridgePlugin, calico, cilium, flannel, flannelNft, kubenet } from './cni';
import { type Environment, podsOf, toPeer, type Uplink } from './environment';
import { kubeProxy } from './node-network';

const nodeAddress = '172.20.0.9';
const nodes = '172.20.0.0/16';
const podRange = '10.244.1.0/24';
const addresses = ['10.244.1.10', '10.244.1.11'];
const bridge = { device: 'cni0', address: '10.244.1.1/24' };

/**
 * The interface of an EC2 instance with the source/destination check enabled: packets leave only with the node's own
 * address.
 */
const uplinks = [{ device: 'eth0', subnet: '172.20.0.0/24', address: nodeAddress }] as const satisfies [
  Uplink,
];
const gceUplinks = [
  {
    device: 'eth0',
    subnet: '10.209.0.0/24',
    address: '10.209.0.2',
    isPointToPoint: true,
    assigned: [podRange],
  },
] as const satisfies [Uplink];

const ruleSet = ['source 10.244.0.0/16', 'exempt 10.244.0.0/16 pods', `exempt ${nodes} network`, ...toPeer];

const hanging = (device: string) =>
  podsOf({ device, addresses, before: 'dropped', after: nodeAddress, internet: nodeAddress });
const working = (device: string) =>
  podsOf({ device, addresses, before: nodeAddress, after: nodeAddress, internet: nodeAddress });

const onEc2 = { uplinks, peer: { routes: [nodes] }, ruleSet, expected: { proven: true } };

const onGce = podsOf({
  device: 'veth',
  addresses,
  before: 'dropped',
  after: '10.209.0.2',
  // Nothing on the node masquerades, because the VPC's NAT gateway is configured for the pods' range.
  internet: 'own',
});

export const kubeadm: readonly Environment[] = [
  {
    name: 'kubeadm on GCE with routes to pods',
    uplinks: gceUplinks,
    bridge,
    pods: onGce,
    network: kubeProxy,
    peer: { routes: ['10.209.0.0/16'] },
    ruleSet: ['source 10.244.0.0/16', 'exempt 10.244.0.0/16 pods', 'exempt 10.209.0.0/16 network', ...toPeer],
    expected: { proven: true },
  },
  { name: 'kubenet on EC2', ...onEc2, bridge, pods: hanging('veth'), network: kubenet },
  {
    name: 'kubeadm on EC2 with flannel',
    ...onEc2,
    bridge,
    pods: working('veth'),
    network: flannel('10.244.0.0/16', podRange),
  },
  {
    name: 'kubeadm on EC2 with flannel, which writes its rules with nft',
    ...onEc2,
    bridge,
    pods: working('veth'),
    network: flannelNft('10.244.0.0/16'),
  },
  {
    inLongRun: true,
    name: 'kubeadm on EC2 with the bridge plugin',
    ...onEc2,
    bridge,
    pods: working('veth'),
    network: bridgePlugin(podRange, working('veth')),
  },
  {
    name: 'kubeadm on EC2 with Calico, where a disabled pool keeps 10.0.0.0/8 from being masqueraded',
    ...onEc2,
    pods: hanging('cali0123456789'),
    network: calico(['10.244.0.0/16', '10.0.0.0/8'], hanging('cali0123456789')),
  },
  {
    name: 'kubeadm on EC2 with Cilium, iptables-based masquerading and 10.0.0.0/8 as native routing range',
    ...onEc2,
    // The devices are the same when BPF programs masquerade, so only a probe from a pod can show the difference.
    expected: {},
    pods: hanging('lxc0123456789'),
    network: cilium(hanging('lxc0123456789'), { range: podRange, nativeRouting: '10.0.0.0/8' }),
  },
];
