import { calicoPolicy, calicoPolicyThatReturns } from './cni';
import { customNetworking, onVpcPods, podSecurityGroups } from './eks';
import { type Environment, peerRange } from './environment';
import { join } from './node-network';

const withoutProbe = ({ ruleSet }: Pick<Environment, 'ruleSet'>) =>
  ruleSet.filter((line) => !line.startsWith('probe'));

const proven = { proven: true } as const;
const external = customNetworking({ externalSnat: true });
const excluded = { excludeSnatCidrs: [peerRange] };
const nftMarks = customNetworking({ ...excluded, connmark: 'nftables' });

/**
 * The path of nft, which has been installed on EKS nodes since the end of 2025 (awslabs/amazon-eks-ami#2547). The VPC
 * CNI does not need it, because it has its own copy.
 */
export const nftCommand = '/usr/sbin/nft';

const staysHanging = external.pods.map((pod) => ({ ...pod, peer: { before: 'dropped', after: 'dropped' } }));

/** Returns the network with rp_filter set to strict after the CNI has set it to loose. */
const withStrictReversePath = ({ network }: Pick<Environment, 'network'>) =>
  join(network, { setUp: ['sysctl net/ipv4/conf/eth0/rp_filter 1'], rules: '', restart: [] });

/**
 * Returns the network with an additional nft table that replaces the marks on pods' packets after all other programs
 * have set theirs.
 */
const withReplacedMarks = ({ network }: Pick<Environment, 'network'>) =>
  join(network, {
    setUp: [
      `nft -f - <<'RULES'
table inet shaper {
  chain classify { meta mark set 0x5; }
  chain prerouting {
    type filter hook prerouting priority filter + 10; policy accept;
    iifname "eni*" jump classify
  }
}
RULES`,
    ],
    rules: '',
    restart: [],
  });

const onVpc = onVpcPods({ externalSnat: true });

export const eksSettings: readonly Environment[] = [
  {
    name: 'EKS with AWS_VPC_K8S_CNI_RANDOMIZESNAT=none',
    ...onVpcPods({ randomizeSnat: 'none' }),
    expected: { proven: true, basis: ['cni'] },
  },
  {
    inLongRun: true,
    name: 'EKS with AWS_VPC_K8S_CNI_RANDOMIZESNAT=hashrandom',
    ...onVpcPods({ randomizeSnat: 'hashrandom' }),
    expected: { proven: true, basis: ['cni'] },
  },
  {
    name: 'EKS with security groups for pods, standard mode',
    ...podSecurityGroups({ enforcingMode: 'standard' }),
    expected: { proven: true, basis: ['cni'] },
  },
  {
    inLongRun: true,
    name: 'EKS with external SNAT, pods in the subnet of the node, on a node without the command nft',
    ...onVpc,
    missing: [nftCommand],
    expected: proven,
  },
  {
    name: 'EKS with custom networking and the peer in AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS',
    ...customNetworking(excluded),
    expected: proven,
  },
  {
    // The VPC CNI's nft rule replaces the whole mark of a connection's first packet.
    name: 'EKS with custom networking and the peer in AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS, where nft marks',
    ...nftMarks,
    ruleSet: withoutProbe(nftMarks),
    expected: proven,
  },
  {
    name: 'EKS with custom networking and the peer in AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS, where nft marks, on a node without the command nft',
    ...nftMarks,
    ruleSet: withoutProbe(nftMarks),
    missing: [nftCommand],
    expected: proven,
  },
  {
    inLongRun: true,
    name: 'EKS with custom networking, where nft marks',
    ...customNetworking({ connmark: 'nftables' }),
    expected: proven,
  },
  {
    name: 'EKS with custom networking, external SNAT and the peer in AWS_EXTERNAL_SERVICE_CIDRS',
    ...customNetworking({ externalSnat: true, externalServiceCidrs: [peerRange] }),
    expected: proven,
  },
  {
    name: 'EKS with custom networking, external SNAT and prefix delegation',
    ...customNetworking({ externalSnat: true, prefixDelegation: true }),
    expected: proven,
  },
  {
    name: 'EKS with custom networking and external SNAT, on a node without pods yet',
    ...external,
    podsStartLate: true,
    expected: proven,
  },
  {
    name: 'EKS with custom networking, external SNAT and the policies of Calico',
    ...external,
    network: join(external.network, calicoPolicy),
    expected: proven,
  },
  {
    // After a restart, Felix's chain comes first in table mangle, and accepts established connections before our
    // chain marks them.
    inLongRun: true,
    hangsAfterRestart: true,
    name: 'EKS with custom networking, external SNAT and the policies of Calico, on a node without the command nft',
    ...external,
    network: join(external.network, calicoPolicy),
    missing: [nftCommand],
    expected: { proven: false, code: 'steering-bypassed' },
  },
  {
    inLongRun: true,
    name: 'EKS with custom networking, external SNAT and the policies of Calico with iptablesMangleAllowAction=Return, on a node without the command nft',
    ...external,
    network: join(external.network, calicoPolicyThatReturns),
    missing: [nftCommand],
    expected: proven,
  },
  {
    name: 'EKS with custom networking and external SNAT, and a rule set that does not steer',
    ...external,
    pods: staysHanging,
    ruleSet: withoutProbe(external).filter((line) => line !== 'option steer'),
    expected: { proven: false, code: 'paths-foreign-address' },
  },
  {
    name: 'EKS with custom networking and external SNAT, where rp_filter drops the replies',
    ...external,
    pods: staysHanging,
    network: withStrictReversePath(external),
    ruleSet: withoutProbe(external),
    expected: { proven: false, code: 'rp-filter' },
  },
  {
    name: 'EKS with custom networking and external SNAT, where a table of nft replaces marks',
    ...external,
    pods: staysHanging,
    network: withReplacedMarks(external),
    ruleSet: withoutProbe(external),
    expected: { proven: false, code: 'paths-foreign-address' },
  },
  {
    // If packets were steered, their replies would be dropped. Without steering, pods keep working, because packets get
    // an address of the interface through which they leave.
    name: 'EKS with external SNAT, pods in the subnet of the node, where rp_filter would drop the replies',
    ...onVpc,
    pods: onVpc.pods.map((pod) => ({
      ...pod,
      peer: { ...pod.peer, after: pod.name === 'primary' ? '10.0.0.10' : '10.0.0.11' },
    })),
    network: withStrictReversePath(onVpc),
    ruleSet: withoutProbe(onVpc),
    expected: proven,
  },
];
