import type { Family } from '../model';
import type { Evaluation } from '../simulate/trace';

/** The connection for which an owner's configuration should change. */
export interface AdviceContext {
  readonly family: Family;
  /** The address as the rules see it, after DNAT. */
  readonly destination: string;
  /** The pod's address. */
  readonly source: string;
}

type RuleOfOwner = Pick<Evaluation, 'chain' | 'rule'>;
type Advice = (context: AdviceContext) => string;

/** A program that writes masquerade rules, and where it is configured. Its next sync or restart replaces other changes. */
export interface Owner {
  readonly name: string;
  /** Whether the program wrote the rule. */
  readonly owns: (rule: RuleOfOwner) => boolean;
  /** How to have packets to the destination masqueraded, where the program can do that. */
  readonly masquerade?: Advice;
  /** How to have packets to the destination leave with the pod's address. */
  readonly direct?: Advice;
}

/** `chain` matches the name of the rule's chain, `text` the rule. */
const writtenBy =
  ({ chain, text }: { chain?: RegExp; text?: RegExp }): Owner['owns'] =>
  (written) =>
    chain?.test(written.chain.name) === true || text?.test(written.rule.text) === true;

/** peermasq's own configuration: docs/config.md. */
export const peermasq: Owner = {
  name: 'peermasq',
  owns: writtenBy({ chain: /^PEERMASQ$/, text: /"?peermasq: |\bPEERMASQ\b/ }),
  masquerade: ({ destination }) =>
    `In peermasq.yaml, add a cidr entry that contains ${destination} to masquerade of the cluster, and leave it out of except. Then run: npx peermasq backfill`,
  direct: ({ destination }) =>
    `In peermasq.yaml, add the range of ${destination} to except of the cluster. Then run: npx peermasq backfill`,
};

/**
 * Chain and ConfigMap: kubernetes-sigs/ip-masq-agent README.md (`nonMasqueradeCIDRs`, read again every minute). Without
 * a ConfigMap the agent exempts RFC 1918. GKE's chain is IP-MASQ, also on nodes without the agent
 * (GoogleCloudPlatform/netd `pkg/install-cni/plugin/masquerade.go`; cloud.google.com/kubernetes-engine/docs/how-to/ip-masquerade-agent).
 */
const ipMasqAgent: Owner = {
  name: 'ip-masq-agent',
  owns: writtenBy({ chain: /^IP-MASQ(-AGENT)?$/, text: /-j IP-MASQ(-AGENT)?\b/ }),
  masquerade: ({ destination }) =>
    `In ConfigMap ip-masq-agent (namespace kube-system), set nonMasqueradeCIDRs to ranges that do not contain ${destination}. Create the ConfigMap if it does not exist: by default, the agent exempts all private ranges. On GKE, also create the DaemonSet ip-masq-agent if it does not exist.`,
  direct: ({ destination }) =>
    `In ConfigMap ip-masq-agent (namespace kube-system), add the range of ${destination} to nonMasqueradeCIDRs.`,
};

/**
 * aws/amazon-vpc-cni-k8s README.md: AWS_VPC_K8S_CNI_EXTERNALSNAT turns SNAT off, and AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS
 * (since 1.6) exempts ranges. The ranges of the VPC are always exempt (`pkg/networkutils/network.go`).
 */
const awsVpcCni: Owner = {
  name: 'Amazon VPC CNI',
  owns: writtenBy({ chain: /^AWS-(SNAT|CONNMARK)-CHAIN/, text: /"AWS[, ]|AWS-SNAT-CHAIN/ }),
  masquerade: ({ destination }) =>
    `In DaemonSet aws-node (namespace kube-system), remove the range of ${destination} from AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS, and set AWS_VPC_K8S_CNI_EXTERNALSNAT to false. The CNI never masquerades packets to the VPC's own ranges: those need a rule of another program, such as peermasq.`,
  direct: ({ destination }) =>
    `In DaemonSet aws-node (namespace kube-system), add the range of ${destination} to AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS; or set AWS_VPC_K8S_CNI_EXTERNALSNAT to true if a NAT gateway translates everything that leaves the VPC.`,
};

/**
 * Calico masquerades packets from pools with `natOutgoing` to addresses outside of all pools, including disabled ones
 * (projectcalico/calico `felix/rules/nat.go`; docs.tigera.io/calico/latest/reference/resources/ippool). Felix moves its
 * own rules back to the top of POSTROUTING when it refreshes them.
 */
const calico: Owner = {
  name: 'Calico',
  owns: writtenBy({ chain: /^cali-/, text: /cali[46]0(masq|all)-ipam-pools|-j cali-/ }),
  masquerade: ({ source, destination }) =>
    `Set natOutgoing: true in the IPPool that contains ${source}. Calico masquerades only packets to addresses outside of all IPPools, so ${destination} must not be inside one.`,
  direct: ({ destination }) =>
    `Create an IPPool with disabled: true whose cidr contains ${destination}: Calico does not masquerade packets to addresses inside an IPPool. Or set natOutgoing: false in the pod's IPPool.`,
};

/** docs.cilium.io/en/stable/network/concepts/masquerading: the native routing CIDR and, with eBPF masquerading, ip-masq-agent. */
const cilium: Owner = {
  name: 'Cilium',
  owns: writtenBy({ chain: /^CILIUM_/, text: /cilium .*masquerade|-j CILIUM_/ }),
  masquerade: ({ family, destination }) =>
    `Set Cilium's ${nativeRoutingCidr(family)} to a range that does not contain ${destination} and, with ipMasqAgent.enabled, leave it out of nonMasqueradeCIDRs.`,
  direct: ({ family, destination }) =>
    `Set Cilium's ${nativeRoutingCidr(family)} to a range that contains ${destination}; or, with bpf.masquerade, enable ipMasqAgent and add its range to nonMasqueradeCIDRs.`,
};

const nativeRoutingCidr = (family: Family) =>
  `ipv${family}-native-routing-cidr (Helm: ipv${family}NativeRoutingCIDR)`;

/**
 * With `--ip-masq`, flannel masquerades everything that leaves its Network, without further exemptions
 * (flannel-io/flannel Documentation/configuration.md, `pkg/trafficmngr/iptables/iptables.go`).
 */
const flannel: Owner = {
  name: 'flannel',
  owns: writtenBy({ chain: /^FLANNEL/, text: /"?flanneld masq|-j FLANNEL-POSTRTG/ }),
  masquerade: ({ destination }) =>
    `Run flanneld with --ip-masq. It masquerades only packets to addresses outside of Network in net-conf.json (ConfigMap kube-flannel-cfg), so Network must not contain ${destination}.`,
  direct: ({ destination }) =>
    `flannel cannot exempt ${destination}. Run flanneld without --ip-masq, and masquerade with ip-masq-agent, whose nonMasqueradeCIDRs contain the range.`,
};

/**
 * `nonMasqueradeCIDR` of the cluster spec is kubelet's `--non-masquerade-cidr`, 100.64.0.0/10 by default. With
 * containerd, kOps writes a CNI configuration named kubenet instead (kubernetes/kops `nodeup/pkg/model/containerd.go`).
 */
const kops: Owner = {
  name: 'kOps',
  owns: writtenBy({ text: /! -d 100\.64\.0\.0\/10 .*kubenet: SNAT|name: \\?"kubenet\\?"/ }),
  masquerade: ({ destination }) =>
    `In the kOps cluster spec (kops edit cluster), set nonMasqueradeCIDR to a range that does not contain ${destination}. Then update and roll the nodes.`,
  direct: ({ destination }) =>
    `kOps configures one exempt range, nonMasqueradeCIDR of the cluster spec, which kubenet with containerd does not use. Use a networking plugin with exemptions to keep the pod's address towards ${destination}.`,
};

/**
 * kubelet's `--non-masquerade-cidr`, removed with dockershim in Kubernetes 1.24; 0.0.0.0/0 turns the rule off
 * (kubernetes/kubernetes `pkg/kubelet/dockershim/network/kubenet/kubenet_linux.go`; kubernetes-sigs/ip-masq-agent README.md).
 */
const kubenet: Owner = {
  name: 'kubenet',
  owns: writtenBy({ text: /kubenet: SNAT/ }),
  masquerade: ({ destination }) =>
    `Start kubelet with a --non-masquerade-cidr that does not contain ${destination}, such as the cluster's own pod range; or with 0.0.0.0/0, and configure the ranges in ip-masq-agent.`,
  direct: ({ destination }) =>
    `Start kubelet with a --non-masquerade-cidr that contains ${destination}; or with 0.0.0.0/0, and configure the ranges in ip-masq-agent.`,
};

/**
 * Plugins bridge and ptp with `ipMasq` masquerade what leaves the pod's subnet, without further exemptions
 * (containernetworking/plugins `pkg/ip/ipmasq_iptables_linux.go`; cni.dev/plugins/current/main/bridge).
 */
const cniPlugin: Owner = {
  name: 'CNI plugin',
  owns: writtenBy({
    chain: /^CNI-(?!HOSTPORT|DN-|SN-|FORWARD|ADMIN)/,
    text: /-j CNI-(?!HOSTPORT|DN-|SN-)|name: \\?"[^"]*\\?" id: /,
  }),
  masquerade: ({ destination }) =>
    `Set "ipMasq": true in the network configuration in /etc/cni/net.d. The plugin does not masquerade packets to the pod's own subnet, so that must not contain ${destination}. It applies to pods that start afterwards.`,
  direct: ({ destination }) =>
    `Set "ipMasq": false in the network configuration in /etc/cni/net.d, and masquerade with ip-masq-agent, whose nonMasqueradeCIDRs contain the range of ${destination}. It applies to pods that start afterwards.`,
};

/** kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1: kube-proxy masquerades only service connections. */
const kubeProxy: Owner = {
  name: 'kube-proxy',
  owns: writtenBy({ chain: /^KUBE-(POSTROUTING|MARK-MASQ)$/ }),
  direct: () =>
    `kube-proxy masquerades connections to services from outside clusterCIDR, and all with masqueradeAll. In ConfigMap kube-proxy (namespace kube-system), set clusterCIDR to the pod range and masqueradeAll to false; or connect to the address behind the service.`,
};

/** docs.docker.com/engine/network/drivers/bridge: `com.docker.network.bridge.enable_ip_masquerade`; dockerd's `--ip-masq`. */
const docker: Owner = {
  name: 'Docker',
  owns: writtenBy({ chain: /^DOCKER/, text: /! -o (docker\d+|br-[0-9a-f]{12}) -j MASQUERADE/ }),
  direct: () =>
    `Set "ip-masq": false in /etc/docker/daemon.json for the default bridge; create other networks with -o com.docker.network.bridge.enable_ip_masquerade=false.`,
};

/** The order matters: a rule belongs to the first owner that matches. */
export const owners: readonly Owner[] = [
  peermasq,
  ipMasqAgent,
  awsVpcCni,
  calico,
  cilium,
  flannel,
  kops,
  kubenet,
  cniPlugin,
  kubeProxy,
  docker,
];
