import type { NodeNetwork, Pod } from './environment';
import { join, kubeProxy, restoring, table } from './node-network';

/** Returns the lines that add a route for each pod to table main, as routed pod networks do. */
const routesTo = (pods: readonly Pod[]) =>
  pods.map(({ address, device }) => `ip route add ${address} dev ${device} scope link`);

/** The network of kubenet, which uses a bridge and one rule (pkg/kubelet/network/kubenet). */
export const kubenet: NodeNetwork = join(kubeProxy, {
  setUp: [],
  rules: table(
    'nat',
    '-A POSTROUTING ! -d 10.0.0.0/8 -m comment --comment "kubenet: SNAT for outbound traffic from cluster" -m addrtype ! --dst-type LOCAL -j MASQUERADE',
  ),
  restart: [],
});

/** Returns the network of the bridge plugin with `ipMasq` (containernetworking/plugins, pkg/ip/ipmasq_linux.go). */
export const bridgePlugin = (range: string, pods: readonly Pod[]): NodeNetwork =>
  join(kubeProxy, {
    setUp: [],
    rules: pods
      .map(({ address, name }, i) => {
        const chain = `CNI-${'0123456789abcdef01234567'.slice(0, 23)}${i}`;
        const comment = `-m comment --comment "name: \\"cbr0\\" id: \\"${name}\\""`;
        return table(
          'nat',
          `:${chain} - [0:0]`,
          `-A POSTROUTING -s ${address}/32 ${comment} -j ${chain}`,
          `-A ${chain} -d ${range} ${comment} -j ACCEPT`,
          `-A ${chain} ! -d 224.0.0.0/4 ${comment} -j MASQUERADE`,
        );
      })
      .join(''),
    restart: [],
  });

const reserved = [
  ['10.0.0.0/8', 'RFC 1918'],
  ['172.16.0.0/12', 'RFC 1918'],
  ['192.168.0.0/16', 'RFC 1918'],
  ['240.0.0.0/4', 'RFC 5735'],
  ['192.0.2.0/24', 'RFC 5737'],
  ['198.51.100.0/24', 'RFC 5737'],
  ['203.0.113.0/24', 'RFC 5737'],
  ['100.64.0.0/10', 'RFC 6598'],
  ['198.18.0.0/15', 'RFC 6815'],
  ['192.0.0.0/24', 'RFC 6890'],
  ['192.88.99.0/24', 'RFC 7526'],
] as const;

/** Returns the network of VPC-native GKE. scripts/install-cni.sh of GoogleCloudPlatform/netd writes its rules once. */
export const netd = (pods: readonly Pod[]): NodeNetwork =>
  join(kubeProxy, {
    setUp: [],
    setUpPods: routesTo(pods),
    rules: table(
      'nat',
      ':IP-MASQ - [0:0]',
      '-A POSTROUTING -m comment --comment "ip-masq: ensure nat POSTROUTING directs all non-LOCAL destination traffic to our custom IP-MASQ chain" -m addrtype ! --dst-type LOCAL -j IP-MASQ',
      '-A IP-MASQ -d 169.254.0.0/16 -m comment --comment "ip-masq: local traffic is not subject to MASQUERADE" -j RETURN',
      ...reserved.map(
        ([range, rfc]) =>
          `-A IP-MASQ -d ${range} -m comment --comment "ip-masq: ${rfc} reserved range is not subject to MASQUERADE" -j RETURN`,
      ),
      '-A IP-MASQ -m comment --comment "ip-masq: outbound traffic is subject to MASQUERADE (must be last in chain)" -j MASQUERADE',
    ),
    restart: [],
  });

/**
 * Returns the network of ip-masq-agent, which rewrites its whole chain once a minute (kubernetes-sigs/ip-masq-agent,
 * cmd/ip-masq-agent/ip-masq-agent.go).
 */
export function ipMasqAgent(nonMasqueradeCidrs: readonly string[], pods: readonly Pod[]): NodeNetwork {
  const chain = table(
    'nat',
    ':IP-MASQ-AGENT - [0:0]',
    ...['169.254.0.0/16', ...nonMasqueradeCidrs].map(
      (range) =>
        `-A IP-MASQ-AGENT -d ${range} -m comment --comment "ip-masq-agent: local traffic is not subject to MASQUERADE" -j RETURN`,
    ),
    '-A IP-MASQ-AGENT -m comment --comment "ip-masq-agent: outbound traffic is subject to MASQUERADE (must be last in chain)" -j MASQUERADE',
  );
  const jump = table(
    'nat',
    '-A POSTROUTING -m comment --comment "ip-masq-agent: ensure nat POSTROUTING directs all non-LOCAL destination traffic to our custom IP-MASQ-AGENT chain" -m addrtype ! --dst-type LOCAL -j IP-MASQ-AGENT',
  );
  return join(kubeProxy, {
    setUp: [],
    setUpPods: routesTo(pods),
    rules: chain + jump,
    restart: [restoring(chain)],
  });
}

/**
 * Returns the network of flannel (pkg/trafficmngr/iptables/iptables.go). After a restart, flannel clears its chain and
 * moves its jump to the end.
 */
export function flannel(cluster: string, node: string): NodeNetwork {
  const comment = '-m comment --comment "flanneld masq"';
  const jump = `POSTROUTING ${comment} -j FLANNEL-POSTRTG`;
  const rules = (...first: readonly string[]) =>
    table(
      'nat',
      ':FLANNEL-POSTRTG - [0:0]',
      ...first,
      `-A ${jump}`,
      `-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 ${comment} -j RETURN`,
      `-A FLANNEL-POSTRTG -s ${node} -d ${cluster} ${comment} -j RETURN`,
      `-A FLANNEL-POSTRTG -s ${cluster} -d ${node} ${comment} -j RETURN`,
      `-A FLANNEL-POSTRTG ! -s ${cluster} -d ${node} ${comment} -j RETURN`,
      `-A FLANNEL-POSTRTG -s ${cluster} ! -d 224.0.0.0/4 ${comment} -j MASQUERADE --random-fully`,
      `-A FLANNEL-POSTRTG ! -s ${cluster} -d ${cluster} ${comment} -j MASQUERADE --random-fully`,
    );
  return join(kubeProxy, { setUp: [], rules: rules(), restart: [restoring(rules(`-D ${jump}`))] });
}

/** Returns the network of flannel with `EnableNFTables` (pkg/trafficmngr/nftables/nftables.go). */
export const flannelNft = (cluster: string): NodeNetwork =>
  join(kubeProxy, {
    setUp: [
      `nft -f - <<'RULES'
table ip flannel-ipv4 {
  chain postrtg {
    type nat hook postrouting priority srcnat; policy accept;
    meta mark 0x4000 return
    ip saddr ${cluster} ip daddr ${cluster} return
    ip saddr ${cluster} ip daddr != 224.0.0.0/4 masquerade fully-random
  }
}
RULES`,
    ],
    rules: '',
    restart: [],
  });

/**
 * Returns the network of Calico (felix/rules). Calico masquerades packets from pools with natOutgoing to addresses
 * outside all pools. Packets to the range of a disabled pool are therefore not masqueraded. When Felix restarts, it
 * moves its jumps to the top.
 */
export function calico(pools: readonly string[], pods: readonly Pod[]): NodeNetwork {
  const jump = 'POSTROUTING -m comment --comment "cali:O3lYWMrLQYEMJtB5" -j cali-POSTROUTING';
  const chains = [
    ':cali-POSTROUTING - [0:0]',
    ':cali-fip-snat - [0:0]',
    ':cali-nat-outgoing - [0:0]',
    '-A cali-POSTROUTING -m comment --comment "cali:Z-c7XtVd2Bq7s_hA" -j cali-fip-snat',
    '-A cali-POSTROUTING -m comment --comment "cali:nYKhEzDlr11Jccal" -j cali-nat-outgoing',
    '-A cali-nat-outgoing -m comment --comment "cali:flqWnvo8yq4ULQLa" -m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40all-ipam-pools dst -j MASQUERADE --random-fully',
  ];
  return join(kubeProxy, {
    setUp: [
      'ipset create cali40masq-ipam-pools hash:net',
      ...pools.slice(0, 1).map((pool) => `ipset add cali40masq-ipam-pools ${pool}`),
      'ipset create cali40all-ipam-pools hash:net',
      ...pools.map((pool) => `ipset add cali40all-ipam-pools ${pool}`),
    ],
    setUpPods: routesTo(pods),
    rules: calicoPolicy.rules + table('nat', ...chains, `-A ${jump}`),
    restart: [
      ...calicoPolicy.restart,
      restoring(table('nat', ...chains, `-D ${jump}`, `-I ${jump.replace(' ', ' 1 ')}`)),
    ],
  });
}

/**
 * The jump to Calico's chain in table mangle, which also exists where Calico only enforces policies. Established
 * connections skip the rest of that chain.
 */
const mangleJump = 'PREROUTING -m comment --comment "cali:6gwbT8clXdHdC1b1" -j cali-PREROUTING';
const mangleChains = (allowAction: 'ACCEPT' | 'RETURN') => [
  ':cali-PREROUTING - [0:0]',
  ':cali-from-host-endpoint - [0:0]',
  `-A cali-PREROUTING -m comment --comment "cali:6BJqBjBC7crtA-7-" -m conntrack --ctstate RELATED,ESTABLISHED -j ${allowAction}`,
  `-A cali-PREROUTING -m comment --comment "cali:KX7AGNd6rMcDUai6" -m mark --mark 0x10000/0x10000 -j ${allowAction}`,
  '-A cali-PREROUTING -m comment --comment "cali:wNH7KsA3ILKJBsY9" -j cali-from-host-endpoint',
  `-A cali-PREROUTING -m comment --comment "cali:Cg96MgVuoPm7UMRo" -m comment --comment "Host endpoint policy accepted packet." -m mark --mark 0x10000/0x10000 -j ${allowAction}`,
];
const policy = (allowAction: 'ACCEPT' | 'RETURN'): NodeNetwork => ({
  setUp: [],
  rules: table('mangle', ...mangleChains(allowAction), `-A ${mangleJump}`),
  restart: [
    restoring(
      table(
        'mangle',
        ...mangleChains(allowAction),
        `-D ${mangleJump}`,
        `-I ${mangleJump.replace(' ', ' 1 ')}`,
      ),
    ),
  ],
});
export const calicoPolicy = policy('ACCEPT');
/** The policies of Calico with the setting `iptablesMangleAllowAction: Return`. */
export const calicoPolicyThatReturns = policy('RETURN');

/**
 * Returns the network of Cilium with iptables-based masquerading (pkg/datapath/iptables/iptables.go). The agent moves
 * its jumps to the top.
 */
export function cilium(
  pods: readonly Pod[],
  settings: { range: string; nativeRouting: string },
): NodeNetwork {
  const feeder = (hook: string, chain: string) =>
    `${hook} -m comment --comment "cilium-feeder: ${chain}" -j ${chain}`;
  const post = feeder('POSTROUTING', 'CILIUM_POST_nat');
  const pre = feeder('PREROUTING', 'CILIUM_PRE_mangle');
  const nat = [
    ':CILIUM_POST_nat - [0:0]',
    `-A CILIUM_POST_nat -s ${settings.range} -m set --match-set cilium_node_set_v4 dst -m comment --comment "exclude traffic to cluster nodes from masquerade" -j ACCEPT`,
    `-A CILIUM_POST_nat -s ${settings.range} ! -d ${settings.nativeRouting} ! -o cilium_+ -m comment --comment "cilium masquerade non-cluster" -j MASQUERADE`,
    '-A CILIUM_POST_nat -m mark --mark 0xa00/0xe00 -m comment --comment "exclude proxy return traffic from masquerade" -j ACCEPT',
    '-A CILIUM_POST_nat -o cilium_host -m mark --mark 0xf00/0xf00 -m conntrack --ctstate DNAT -m comment --comment "hairpin traffic that originated from a local pod" -j MASQUERADE',
  ];
  const mangle = [
    ':CILIUM_PRE_mangle - [0:0]',
    '-A CILIUM_PRE_mangle -m socket --transparent -m mark ! --mark 0xe00/0xf00 -m comment --comment "cilium: any->pod redirect proxied traffic to host proxy" -j MARK --set-xmark 0x200/0xffffffff',
  ];
  const both = (jump: (rule: string) => readonly string[]) =>
    table('mangle', ...mangle, ...jump(pre)) + table('nat', ...nat, ...jump(post));
  return join(kubeProxy, {
    setUp: [
      'ip link add cilium_net type veth peer name cilium_host',
      'ip link set cilium_net up',
      'ip link set cilium_host up',
      'ip rule add pref 9 fwmark 0x200/0xf00 lookup 2004',
      'ip route add local default dev lo table 2004',
      'ip rule add pref 100 lookup local',
      'ip rule del pref 0',
      'ipset create cilium_node_set_v4 hash:ip',
    ],
    setUpPods: routesTo(pods),
    rules: both((rule) => [`-A ${rule}`]),
    restart: [restoring(both((rule) => [`-D ${rule}`, `-I ${rule.replace(' ', ' 1 ')}`]))],
  });
}
