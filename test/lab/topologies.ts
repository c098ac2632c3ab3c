/** A VPC and its router, which forwards packets between the VPC's own range and the linked ranges. */
export interface Network {
  readonly name: string;
  readonly range: string;
  /** The router's own address, with the prefix length of `range`. */
  readonly gateway: string;
}

/**
 * A peering or a VPN between two networks, which are given by name. It gives each router a route to the other network's
 * range, and no other route.
 */
export interface NetworkLink {
  readonly kind: 'peering' | 'vpn';
  readonly between: readonly [string, string];
}

export interface Service {
  readonly name: string;
  readonly network: string;
  readonly address: string;
  readonly port: number;
  readonly protocol: 'http' | 'postgres';
}

/** The input of `buildNetworks`. Addresses have no prefix length unless noted. Ranges are in CIDR notation. */
export interface Topology {
  readonly name: string;
  readonly networks: readonly Network[];
  readonly links: readonly NetworkLink[];
  readonly node: {
    readonly network: string;
    readonly address: string;
    /** The range of the pods and the address of one pod. `bridge` is the address of cbr0 with its prefix length. */
    readonly pods: { readonly range: string; readonly bridge: string; readonly pod: string };
    /** The rules in table nat before peermasq adds its own, in the format of iptables-save. */
    readonly rules: readonly string[];
  };
  readonly peer: Service;
}

const backend = {
  name: 'backend',
  network: 'vpc-a',
  address: '10.193.0.3',
  port: 32191,
  protocol: 'http',
} as const satisfies Service;
const vpcA: Network = { name: 'vpc-a', range: '10.193.0.0/16', gateway: '10.193.0.1/16' };

/** The setup from the Google Cloud write-up: GKE 1.7 with kubenet, and two VPCs inside 10.0.0.0/8. */
export const gcpPeering: Topology = {
  name: 'gcp-peering',
  networks: [{ name: 'vpc-b', range: '10.209.0.0/16', gateway: '10.209.0.1/16' }, vpcA],
  links: [{ kind: 'peering', between: ['vpc-b', 'vpc-a'] }],
  node: {
    network: 'vpc-b',
    address: '10.209.0.2',
    pods: { range: '10.132.0.0/14', bridge: '10.132.0.1/24', pod: '10.132.0.10' },
    rules: [
      '-A POSTROUTING ! -d 10.0.0.0/8 -m comment --comment "kubenet: SNAT for outbound traffic from cluster" -m addrtype ! --dst-type LOCAL -j MASQUERADE',
    ],
  },
  peer: backend,
};

// The ranges of an AWS cluster that kube-up created in 2015, and the rule that was hard-coded in its kubelet.
const kubeUp = {
  network: 'cluster-vpc',
  address: '172.20.0.9',
  pods: { range: '10.244.0.0/16', bridge: '10.244.0.1/24', pod: '10.244.0.10' },
  rules: ['-A POSTROUTING ! -d 10.0.0.0/8 -o eth0 -j MASQUERADE'],
} as const;
const clusterVpc: Network = { name: 'cluster-vpc', range: '172.20.0.0/16', gateway: '172.20.0.1/16' };

/** The setup from the AWS write-up: the cluster's VPC is peered with the production VPC, which has the database. */
export const awsPeering: Topology = {
  name: 'aws-peering',
  networks: [clusterVpc, { name: 'production-vpc', range: '10.0.0.0/16', gateway: '10.0.0.1/16' }],
  links: [{ kind: 'peering', between: ['cluster-vpc', 'production-vpc'] }],
  node: kubeUp,
  peer: {
    name: 'database',
    network: 'production-vpc',
    address: '10.0.3.20',
    port: 5432,
    protocol: 'postgres',
  },
};

/** A setup that the Google Cloud write-up does not cover: from AWS to Google Cloud over a VPN. */
export const awsGcpVpn: Topology = {
  name: 'aws-gcp-vpn',
  networks: [clusterVpc, vpcA],
  links: [{ kind: 'vpn', between: ['cluster-vpc', 'vpc-a'] }],
  node: kubeUp,
  peer: backend,
};

export const topologies = [gcpPeering, awsPeering, awsGcpVpn] as const;
