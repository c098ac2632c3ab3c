import type { NodeNetwork } from './environment';

/** Returns one table as text for iptables-restore. */
export const table = (name: string, ...lines: readonly string[]) =>
  [`*${name}`, ...lines, 'COMMIT', ''].join('\n');

/** Combines several programs on one node. Their rules are written in the given order. */
export const join = (...networks: readonly NodeNetwork[]): NodeNetwork => ({
  setUp: networks.flatMap(({ setUp }) => setUp),
  setUpPods: networks.flatMap(({ setUpPods = [] }) => setUpPods),
  rules: networks.map(({ rules }) => rules).join(''),
  restart: networks.flatMap(({ restart }) => restart),
});

/** Returns a line of shell that restores the rules. `restore` is the iptables-restore of the node's backend. */
export const restoring = (rules: string) => `restore --noflush <<'RULES'\n${rules}RULES`;

/**
 * The kubelet's hint chains (pkg/kubelet/kubelet_network_linux.go) and kube-proxy's chains
 * (pkg/proxy/iptables/proxier.go).
 */
const kubeProxyRules = [
  table(
    'mangle',
    ':KUBE-IPTABLES-HINT - [0:0]',
    ':KUBE-KUBELET-CANARY - [0:0]',
    ':KUBE-PROXY-CANARY - [0:0]',
  ),
  table(
    'nat',
    ':KUBE-KUBELET-CANARY - [0:0]',
    ':KUBE-MARK-MASQ - [0:0]',
    ':KUBE-POSTROUTING - [0:0]',
    ':KUBE-PROXY-CANARY - [0:0]',
    ':KUBE-SERVICES - [0:0]',
    '-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000',
    '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
    '-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0',
    '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
  ),
].join('');

const kubeProxyJumps = table(
  'nat',
  '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
  '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
  '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
);

export const kubeProxy: NodeNetwork = {
  setUp: ['sysctl net/ipv4/ip_forward 1'],
  rules: kubeProxyRules + kubeProxyJumps,
  // A sync of kube-proxy rewrites whole chains. The jumps to these chains already exist.
  restart: [restoring(kubeProxyRules)],
};
