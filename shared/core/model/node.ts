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
  /** The numeric ID, because names are reused. */
  readonly id: string;
}

export type NodeRef = AwsNodeRef | GcpNodeRef;

/** `aws:i-0abc…`, `gcp:1234…` */
export type NodeKey = string;

export function nodeKey(ref: NodeRef): NodeKey {
  return `${ref.cloud}:${ref.id}`;
}

/** A VM as its cloud describes it. It need not be a Kubernetes node. */
export interface Node {
  readonly ref: NodeRef;
  /** For display only: names are not unique. */
  readonly name: string;
  /** Every cluster that its tags or labels name, without duplicates. */
  readonly clusters: readonly string[];
  readonly state: 'starting' | 'running' | 'stopped' | 'gone';
  readonly platform: 'linux' | 'windows' | 'bottlerocket';
  readonly isControlPlane: boolean;
  /** The primary private address. */
  readonly address?: Address;
  readonly launchedAt?: Date;
  readonly recorded?: RecordedState;
  readonly lastPush?: LastPush;
}

/** `peering-transit`: routes that a peer passes on, such as those to its VPN. `peerings` in the config includes them. */
export const routeSourceKinds = ['peerings', 'peering-transit', 'vpn', 'transit-gateways'] as const;
export type RouteSourceKind = (typeof routeSourceKinds)[number];

/** A range that the node's subnet routes out of its own network. */
export interface Route {
  readonly kind: RouteSourceKind;
  /** `pcx-…`, `tgw-…`, `vgw-…`, or the name of a Google Cloud peering. */
  readonly via: string;
  /** As the cloud returns it; `plan` parses it. */
  readonly destination: string;
  /**
   * `blackhole`: its peering or gateway is deleted or not accepted. `provisioning`: it becomes active within about a
   * minute.
   */
  readonly state: 'active' | 'blackhole' | 'provisioning';
  /**
   * The destination is a subnet of the peer, and the peer has routes to `routedPodRanges`. Only a subnet route of a
   * Google Cloud peering promises that; for any other route the cloud does not know.
   */
  readonly peerRoutesPods?: boolean;
  /**
   * Set if the subnet of the node's primary interface has no such route, and these subnets of its other interfaces do:
   * packets that leave with the node's own address are lost.
   */
  readonly onlyInSubnets?: readonly string[];
}

/** What the cloud knows about the network of a node. */
export interface NetworkContext {
  /** VPC ID or network name, for display. */
  readonly network: string;
  /** Every range of the node's own network. */
  readonly networkRanges: readonly Cidr[];
  /** Pod ranges known to the cloud, such as alias ranges. */
  readonly podRanges: readonly Cidr[];
  /** The pod ranges that peerings exchange as subnet routes: private alias ranges (VPC-native GKE). */
  readonly routedPodRanges: readonly Cidr[];
  readonly routes: readonly Route[];
  /** The kinds that were looked up. If a kind is missing here, its routes are unknown. */
  readonly discoveredKinds: readonly RouteSourceKind[];
}
