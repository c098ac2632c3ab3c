/** A network interface of the node, as the cloud attaches it. */
export interface Uplink {
  readonly device: string;
  /** Its subnet, whose first address is the VPC's router. */
  readonly subnet: string;
  /** A branch ENI has none on the node. */
  readonly address?: string;
  /**
   * What else the VPC assigned to it: pod addresses, prefixes, alias ranges, or routes with the node as next hop. The
   * VPC delivers these to the interface, and drops what it sends with another source.
   */
  readonly assigned?: readonly string[];
}

/** `dropped`, or the source address of the pod's packets. */
export type Source = string;

export interface Pod {
  readonly name: string;
  readonly address: string;
  /** The node's end of its cable. */
  readonly device: string;
  /** What the peer sees, without and with peermasq. */
  readonly peer: { readonly before: Source; readonly after: Source };
  /** What leaves towards the internet, the same before and after. */
  readonly internet: Source;
  /** Its own rules: a sidecar's, or a network policy's. In iptables-restore format. */
  readonly rules?: string;
}

/** Programs of a node's network: lines of shell, and rules in iptables-restore format. */
export interface NodeNetwork {
  /** Run when devices and addresses are there. */
  readonly setUp: readonly string[];
  readonly rules: string;
  /** What a restart of its agents writes again. */
  readonly restart: readonly string[];
}

export interface Expected {
  /** Not given where both are right, because pods reach the peer with an address that the rules did not choose. */
  readonly proven?: boolean;
  /** The report's code word, where it is not proven. */
  readonly code?: string;
  /** What the report's `basis` contains among other things. */
  readonly basis?: readonly string[];
}

/** A node as people run it, and what must happen there. */
export interface Environment {
  readonly name: string;
  /** The program does not do this yet. */
  readonly pending?: true;
  readonly uplinks: readonly [Uplink, ...Uplink[]];
  /** The bridge of its pods, where there is one. */
  readonly bridge?: { readonly device: string; readonly address: string };
  readonly pods: readonly Pod[];
  readonly network: NodeNetwork;
  readonly peer: {
    /** The ranges it has a route to. */
    readonly routes: readonly string[];
    /** It can connect to pods, because it has a route to them. */
    readonly reachesPods?: true;
  };
  /** Without header and generation; these follow from the lines. */
  readonly ruleSet: readonly string[];
  readonly expected: Expected;
}

export const peerAddress = '10.193.0.3';
export const peerRange = '10.193.0.0/16';
/** The port of every service in the lab. */
export const port = 8080;
/** Not a documentation address: GKE masquerades nothing to those. */
export const internetAddress = '1.1.1.1';

export const gatewayOf = (subnet: string) => subnet.replace(/0\/\d+$/, '1');
