import type { Address, Cidr } from './cidr';
import type { LastPush, RecordedState } from './recorded-state';

export interface AwsNodeRef {
  readonly cloud: 'aws';
  readonly account: string;
  readonly region: string;
  /** `i-…` */
  readonly id: string;
}

export interface GcpNodeRef {
  readonly cloud: 'gcp';
  readonly project: string;
  readonly zone: string;
  /** The numeric ID, because the name can be reused for another instance. */
  readonly id: string;
}

export type NodeRef = AwsNodeRef | GcpNodeRef;

/** `aws:i-0abc…`, `gcp:1234…` */
export type NodeKey = string;

export function nodeKey(ref: NodeRef): NodeKey {
  return `${ref.cloud}:${ref.id}`;
}

/** A VM as its cloud describes it. It is not necessarily a Kubernetes node. */
export interface Node {
  readonly ref: NodeRef;
  /** The name, for display only. Names are not unique. */
  readonly name: string;
  /** Every cluster in the node's tags or labels, without duplicates. */
  readonly clusters: readonly string[];
  readonly state: 'starting' | 'running' | 'stopped' | 'gone';
  readonly platform: 'linux' | 'windows' | 'bottlerocket';
  readonly isControlPlane: boolean;
  /** The primary private address of the node. */
  readonly address?: Address;
  readonly launchedAt?: Date;
  readonly recorded?: RecordedState;
  readonly lastPush?: LastPush;
}

/**
 * The kinds of discovered routes. `peering-transit` means routes that a peer passes on, such as routes to its VPN.
 * `peerings` in the config includes them.
 */
export const routeSourceKinds = ['peerings', 'peering-transit', 'vpn', 'transit-gateways'] as const;
export type RouteSourceKind = (typeof routeSourceKinds)[number];

/** A range that the node's subnet routes to another network. */
export interface Route {
  readonly kind: RouteSourceKind;
  /** `pcx-…`, `tgw-…`, `vgw-…`, or the name of a peering in Google Cloud. */
  readonly via: string;
  /** The destination as the cloud returns it. `plan` parses it. */
  readonly destination: string;
  /**
   * `blackhole`: the peering or gateway was deleted or is not accepted. `provisioning`: the route becomes active
   * within about a minute.
   */
  readonly state: 'active' | 'blackhole' | 'provisioning';
  /**
   * True if the destination is a subnet of the peer, and the peer has routes to `routedPodRanges`. Only subnet routes
   * of Google Cloud peerings guarantee that; for other routes it is unknown.
   */
  readonly peerRoutesPods?: boolean;
  /**
   * Set if the route exists only in these subnets, which belong to secondary interfaces of the node. The subnet of the
   * primary interface has no such route, so packets that leave with the node's own address are lost.
   */
  readonly onlyInSubnets?: readonly string[];
}

/** The cloud's data about the network of a node. */
export interface NetworkContext {
  /** The VPC ID or network name, for display. */
  readonly network: string;
  /** Every range of the node's own network. */
  readonly networkRanges: readonly Cidr[];
  /** The pod ranges that the cloud API reports, such as alias ranges. */
  readonly podRanges: readonly Cidr[];
  /** The pod ranges that peerings exchange as subnet routes. These are private alias ranges (VPC-native GKE). */
  readonly routedPodRanges: readonly Cidr[];
  readonly routes: readonly Route[];
  /** The kinds of routes that were discovered. Routes of any other kind are unknown. */
  readonly discoveredKinds: readonly RouteSourceKind[];
}
