/** A network interface that the cloud attached to the node. */
export interface Uplink {
  readonly device: string;
  /** The interface's subnet. The first address in the subnet is the VPC's router. */
  readonly subnet: string;
  /** The interface's address; absent on the node for a branch ENI. */
  readonly address?: string;
  /** Whether the address is a /32 with a route to the subnet's router, as on Google Cloud. */
  readonly isPointToPoint?: true;
  /**
   * Everything else that the VPC assigned to the interface: pod addresses, prefixes, alias ranges, or routes with the
   * node as next hop. The VPC delivers packets for these addresses to the interface, and drops packets that the
   * interface sends with any other source.
   */
  readonly assigned?: readonly string[];
}

/** The source address with which packets arrive, or `dropped`. */
export type Source = string;

export interface Pod {
  readonly name: string;
  readonly address: string;
  /** The device at the node's end of the pod's veth pair. */
  readonly device: string;
  /** The source that the peer sees, without and with peermasq. */
  readonly peer: { readonly before: Source; readonly after: Source };
  /** The source of packets to the internet, which is the same without and with peermasq. */
  readonly internet: Source;
  /** Whether a service mesh's proxy in the pod's network namespace intercepts all connections of the pod. */
  readonly sidecar?: boolean;
}

interface PodsRequest {
  /** The prefix of the names of the devices at the node's ends of the pods' veth pairs. A number is appended to it. */
  readonly device: string;
  readonly addresses: readonly string[];
  /**
   * The source that the peer sees before and after peermasq applies the rules, and the source of packets to the
   * internet. `own` means the pod's address.
   */
  readonly before: Source;
  readonly after: Source;
  readonly internet: Source;
}

/** Returns pods that differ only in their addresses. */
export function podsOf({ device, addresses, before, after, internet }: PodsRequest): Pod[] {
  return addresses.map((address, i) => {
    const seen = (source: Source) => (source === 'own' ? address : source);
    return {
      name: `pod-${i}`,
      address,
      device: `${device}${i}`,
      peer: { before: seen(before), after: seen(after) },
      internet: seen(internet),
    };
  });
}

/**
 * What the network plugin and other programs set up on a node: lines of shell, and rules in the format of
 * iptables-restore.
 */
export interface NodeNetwork {
  /** Lines that run on the node as soon as its devices and addresses exist. */
  readonly setUp: readonly string[];
  /** Lines that run on the node as soon as the devices and addresses of its pods exist. */
  readonly setUpPods?: readonly string[];
  readonly rules: string;
  /** Lines that do what the programs do when they are restarted. */
  readonly restart: readonly string[];
}

export interface Expected {
  /**
   * Whether the rules are proven. Absent if both results are correct, because pods reach the peer with an address that
   * our rules did not set.
   */
  readonly proven?: boolean;
  /** The code in the report if the rules are not proven. */
  readonly code?: string;
  /**
   * Entries that the report's `basis` must contain if the backend is a variant of iptables. It may contain more
   * entries.
   */
  readonly basis?: readonly string[];
}

/** A kind of node that occurs in practice, and the results that are expected on that node. */
export interface Environment {
  readonly name: string;
  /** Set if the environment is too similar to others to be tested in every run. */
  readonly inLongRun?: true;
  /** Set if the environment cannot be built in a user namespace. */
  readonly needsRoot?: true;
  readonly uplinks: readonly [Uplink, ...Uplink[]];
  /** The bridge to which the pods are connected, if there is one. */
  readonly bridge?: { readonly device: string; readonly address: string };
  readonly pods: readonly Pod[];
  /** Set if the pods start only after the rule set is in force. */
  readonly podsStartLate?: true;
  /** Set if pods' connections to the peer hang from a restart of the network's agents until the next repair. */
  readonly hangsAfterRestart?: true;
  /** The programs that are missing on the node. */
  readonly missing?: readonly string[];
  readonly network: NodeNetwork;
  readonly peer: {
    /** The ranges to which the peer has a route. */
    readonly routes: readonly string[];
    /** Set if the peer has a route to the pods and can therefore connect to them. */
    readonly reachesPods?: true;
    /** The source that the peer sees for the node itself, if that is not the first uplink's address. */
    readonly nodeSource?: Source;
  };
  /** The lines of the rule set without its header and generation, which the test adds. */
  readonly ruleSet: readonly string[];
  readonly expected: Expected;
}

export const peerAddress = '10.193.0.3';
export const peerRange = '10.193.0.0/16';
/** The port on which every service in the lab listens. */
export const port = 8080;
export const sidecarPort = 15001;
/** An address on the internet. It is not a documentation address, because GKE does not masquerade packets to those. */
export const internetAddress = '1.1.1.1';

export const toPeer = [`masquerade ${peerRange} peer`, `probe ${peerAddress}:${port}`] as const;

export const gatewayOf = (subnet: string) => subnet.replace(/0\/\d+$/, '1');
