/** A network interface of the node, as the cloud attaches it. */
export interface Uplink {
  readonly device: string;
  /** Its subnet, whose first address is the VPC's router. */
  readonly subnet: string;
  /** A branch ENI has none on the node. */
  readonly address?: string;
  /** Google Cloud gives addresses as /32, with a route to the subnet's router. */
  readonly isPointToPoint?: true;
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
  /** A service mesh's proxy in its network namespace takes all its connections. */
  readonly sidecar?: boolean;
}

interface PodsRequest {
  /** The node's ends of their cables get this and a number. */
  readonly device: string;
  readonly addresses: readonly string[];
  /** What the peer sees before and after, and what leaves towards the internet; `own` is the pod's address. */
  readonly before: Source;
  readonly after: Source;
  readonly internet: Source;
}

/** Pods that differ only in their addresses. */
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

/** Programs of a node's network: lines of shell, and rules in iptables-restore format. */
export interface NodeNetwork {
  /** Run when devices and addresses are there. */
  readonly setUp: readonly string[];
  /** The same for its pods. */
  readonly setUpPods?: readonly string[];
  readonly rules: string;
  /** What a restart of its agents writes again. */
  readonly restart: readonly string[];
}

export interface Expected {
  /** Not given where both are right, because pods reach the peer with an address that the rules did not choose. */
  readonly proven?: boolean;
  /** The report's code word, where it is not proven. */
  readonly code?: string;
  /** What the report's `basis` contains among other things, where the backend is a variant of iptables. */
  readonly basis?: readonly string[];
}

/** A node as people run it, and what must happen there. */
export interface Environment {
  readonly name: string;
  /** The program does not do this yet. */
  readonly pending?: true;
  /** Too much like others for every run of the tests. */
  readonly inLongRun?: true;
  /** It cannot be built in a user namespace. */
  readonly needsRoot?: true;
  readonly uplinks: readonly [Uplink, ...Uplink[]];
  /** The bridge of its pods, where there is one. */
  readonly bridge?: { readonly device: string; readonly address: string };
  readonly pods: readonly Pod[];
  /** They start when the rule set is in force. */
  readonly podsStartLate?: true;
  /** Programs that are missing on the node. */
  readonly missing?: readonly string[];
  readonly network: NodeNetwork;
  readonly peer: {
    /** The ranges it has a route to. */
    readonly routes: readonly string[];
    /** It can connect to pods, because it has a route to them. */
    readonly reachesPods?: true;
    /** What it sees of the node itself, where that is not the first uplink's address. */
    readonly nodeSource?: Source;
  };
  /** Without the header and generation lines: the test adds them. */
  readonly ruleSet: readonly string[];
  readonly expected: Expected;
}

export const peerAddress = '10.193.0.3';
export const peerRange = '10.193.0.0/16';
/** The port of every service in the lab. */
export const port = 8080;
export const sidecarPort = 15001;
/** Not a documentation address: GKE does not masquerade traffic to those. */
export const internetAddress = '1.1.1.1';

export const toPeer = [`masquerade ${peerRange} peer`, `probe ${peerAddress}:${port}`] as const;

export const gatewayOf = (subnet: string) => subnet.replace(/0\/\d+$/, '1');
