import { type Environment, podsOf, toPeer, type Uplink } from './environment';
import { ipMasqAgent, kubenet, netd } from './cni';

const nodeAddress = '10.209.0.2';
const podRange = '10.132.0.0/24';
const nodes = '10.209.0.0/16';

/**
 * The VPC delivers packets for the pods' range to the node: the range is an alias range of the node, or the node is the
 * next hop of a route to the range.
 */
const uplinks = [
  {
    device: 'eth0',
    subnet: '10.209.0.0/24',
    address: nodeAddress,
    isPointToPoint: true,
    assigned: [podRange],
  },
] as const satisfies [Uplink];

const clusterRanges = ['source 10.132.0.0/14', 'exempt 10.132.0.0/14 pods', `exempt ${nodes} network`];
const ruleSet = [...clusterRanges, ...toPeer];
const addresses = ['10.132.0.10', '10.132.0.11'];
const bridge = { device: 'cbr0', address: '10.132.0.1/24' };

const bridged = podsOf({
  device: 'veth',
  addresses,
  before: 'dropped',
  after: nodeAddress,
  internet: nodeAddress,
});
const routed = podsOf({
  device: 'gke',
  addresses,
  before: 'dropped',
  after: nodeAddress,
  internet: nodeAddress,
});

const kubenetNode = { uplinks, bridge, pods: bridged, network: kubenet, ruleSet };

export const gke: readonly Environment[] = [
  {
    name: 'GKE, routes-based',
    ...kubenetNode,
    peer: { routes: [nodes] },
    expected: { proven: true },
  },
  {
    name: 'GKE, VPC-native, towards a network behind a VPN',
    uplinks,
    pods: routed,
    network: netd(routed),
    peer: { routes: [nodes] },
    ruleSet,
    expected: { proven: true },
  },
  {
    name: 'GKE, VPC-native, towards a peer that the rule set leaves alone',
    uplinks,
    ...vpcNativePods('own', 'own'),
    peer: { routes: [nodes, podRange], reachesPods: true },
    ruleSet: [...clusterRanges, 'masquerade 10.194.0.0/16 vpn'],
    expected: { proven: true },
  },
  {
    name: 'GKE with ip-masq-agent',
    uplinks,
    pods: routed,
    network: ipMasqAgent(['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'], routed),
    peer: { routes: [nodes] },
    ruleSet,
    expected: { proven: true },
  },
  {
    inLongRun: true,
    name: 'GKE with an ip-masq-agent that masquerades to the peer already',
    uplinks,
    ...masqueradedPods(),
    peer: { routes: [nodes] },
    ruleSet,
    expected: { proven: true },
  },
  {
    name: 'hub and spoke, where the network behind the hub has a route to the nodes',
    ...kubenetNode,
    peer: { routes: ['10.100.0.0/16', nodes] },
    expected: { proven: true },
  },
  {
    name: 'hub and spoke, where the network behind the hub has a route to the hub only',
    ...kubenetNode,
    pods: bridged.map((pod) => ({ ...pod, peer: { before: 'dropped', after: 'dropped' } })),
    peer: { routes: ['10.100.0.0/16'], nodeSource: 'dropped' },
    expected: { proven: false, code: 'probe-failed' },
  },
];

function vpcNativePods(before: string, after: string) {
  const pods = podsOf({ device: 'gke', addresses, before, after, internet: nodeAddress });
  return { pods, network: netd(pods) };
}

function masqueradedPods() {
  const pods = podsOf({
    device: 'gke',
    addresses,
    before: nodeAddress,
    after: nodeAddress,
    internet: nodeAddress,
  });
  return { pods, network: ipMasqAgent([podRange, nodes], pods) };
}
