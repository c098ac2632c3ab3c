/** Rules in table nat that other programs leave on a node, in the format of `iptables-restore --noflush`. */
export const neighbours = {
  /** kubenet in Kubernetes 1.6. The first write-up shows the rule, which pkg/kubelet/network/kubenet wrote. */
  kubenet: [
    '-A POSTROUTING ! -d 10.0.0.0/8 -m comment --comment "kubenet: SNAT for outbound traffic from cluster" -m addrtype ! --dst-type LOCAL -j MASQUERADE',
  ],
  /** docker 1.x with Kubernetes 1.0. The second write-up shows the rule as `MASQUERADE ... eth0 ... !10.0.0.0/8`. */
  'kubelet of 2015': ['-A POSTROUTING ! -d 10.0.0.0/8 -o eth0 -j MASQUERADE'],
  /**
   * ip-masq-agent (kubernetes-sigs/ip-masq-agent, cmd/ip-masq-agent/ip-masq-agent.go) writes its whole chain and
   * appends its jump.
   */
  'ip-masq-agent': [
    ':IP-MASQ-AGENT - [0:0]',
    '-A POSTROUTING -m comment --comment "ip-masq-agent: ensure nat POSTROUTING directs all non-LOCAL destination traffic to our custom IP-MASQ-AGENT chain" -m addrtype ! --dst-type LOCAL -j IP-MASQ-AGENT',
    '-A IP-MASQ-AGENT -d 169.254.0.0/16 -m comment --comment "ip-masq-agent: local traffic is not subject to MASQUERADE" -j RETURN',
    '-A IP-MASQ-AGENT -d 10.0.0.0/8 -m comment --comment "ip-masq-agent: local traffic is not subject to MASQUERADE" -j RETURN',
    '-A IP-MASQ-AGENT -m comment --comment "ip-masq-agent: outbound traffic is subject to MASQUERADE (must be last in chain)" -j MASQUERADE',
  ],
  /**
   * The VPC CNI (aws/amazon-vpc-cni-k8s, pkg/networkutils/network.go) with
   * AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS=10.0.0.0/8.
   */
  'VPC CNI': [
    ':AWS-SNAT-CHAIN-0 - [0:0]',
    '-A POSTROUTING -m comment --comment "AWS SNAT CHAIN" -j AWS-SNAT-CHAIN-0',
    '-A AWS-SNAT-CHAIN-0 -d 10.0.0.0/8 -m comment --comment "AWS SNAT CHAIN EXCLUDED CIDR" -j RETURN',
    '-A AWS-SNAT-CHAIN-0 ! -o vlan+ -m comment --comment "AWS, SNAT" -m addrtype ! --dst-type LOCAL -j SNAT --to-source 10.209.0.2 --random-fully',
  ],
  /** kube-proxy in iptables mode (pkg/proxy/iptables/proxier.go). */
  'kube-proxy': [
    ':KUBE-MARK-MASQ - [0:0]',
    ':KUBE-POSTROUTING - [0:0]',
    ':KUBE-SERVICES - [0:0]',
    '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
    '-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000',
    '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
    '-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0',
    '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
    '-A KUBE-SERVICES ! -s 10.132.0.0/14 -d 10.135.240.1/32 -p tcp -m comment --comment "default/kubernetes:https cluster IP" -m tcp --dport 443 -j KUBE-MARK-MASQ',
  ],
  /** Docker (moby, libnetwork/drivers/bridge/setup_ip_tables.go). */
  docker: [
    ':DOCKER - [0:0]',
    '-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER',
    '-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE',
    '-A DOCKER -i docker0 -j RETURN',
  ],
} as const;

export const asTransaction = (...rules: readonly string[]) => ['*nat', ...rules, 'COMMIT', ''].join('\n');

export const everyNeighbour = asTransaction(...Object.values(neighbours).flat());
