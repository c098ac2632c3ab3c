/** A VPC and its router. The router forwards between the VPC's own range and linked ones. */
export interface Network {
  readonly name: string;
  readonly range: string;
  /** The router's own address, with the prefix length of `range`. */
  readonly gateway: string;
}

/** A peering or a VPN between two networks, by name: each router gets a route to the other's range only. */
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

/** Everything that `buildNetworks` needs. Addresses are plain, ranges in CIDR notation. */
export interface Topology {
  readonly name: string;
  readonly networks: readonly Network[];
  readonly links: readonly NetworkLink[];
  readonly node: {
    readonly network: string;
    readonly address: string;
    /** `bridge` is the address of cbr0, with its prefix length; the pods sit behind it. */
    readonly pods: { readonly range: string; readonly bridge: string; readonly pod: string };
    /** Rules in table nat before peermasq, in iptables-save format. */
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

/** The Google Cloud write-up: GKE 1.7 with kubenet, two VPCs inside 10.0.0.0/8. */
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

// The ranges of a kube-up cluster on AWS in 2015, and the rule its kubelet hard-coded.
const kubeUp = {
  network: 'cluster-vpc',
  address: '172.20.0.9',
  pods: { range: '10.244.0.0/16', bridge: '10.244.0.1/24', pod: '10.244.0.10' },
  rules: ['-A POSTROUTING ! -d 10.0.0.0/8 -o eth0 -j MASQUERADE'],
} as const;
const clusterVpc: Network = { name: 'cluster-vpc', range: '172.20.0.0/16', gateway: '172.20.0.1/16' };

/** The AWS write-up: a cluster peered with the production VPC of the database. */
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

/** Left open by the Google Cloud write-up: from AWS to Google Cloud over a VPN. */
export const awsGcpVpn: Topology = {
  name: 'aws-gcp-vpn',
  networks: [clusterVpc, vpcA],
  links: [{ kind: 'vpn', between: ['cluster-vpc', 'vpc-a'] }],
  node: kubeUp,
  peer: backend,
};

export const topologies = [gcpPeering, awsPeering, awsGcpVpn] as const;
