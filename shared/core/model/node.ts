import type { Address, Cidr } from './cidr';
import type { RecordedState } from './report';

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
  /** The numeric id. Names are reused; this is not. */
  readonly id: string;
}

export type NodeRef = AwsNodeRef | GcpNodeRef;

/** Identifies a node everywhere: `aws:i-0abc…`, `gcp:1234…`. */
export type NodeKey = string;

export function nodeKey(ref: NodeRef): NodeKey {
  return `${ref.cloud}:${ref.id}`;
}

/** One VM as its cloud describes it, before anyone asked whether it is ours. */
export interface Node {
  readonly ref: NodeRef;
  /** For people to read; never a key. */
  readonly name: string;
  /** Every different cluster that its tags or labels name. */
  readonly clusters: readonly string[];
  readonly state: 'starting' | 'running' | 'stopped' | 'gone';
  readonly platform: 'linux' | 'windows' | 'bottlerocket';
  readonly isControlPlane: boolean;
  /** The primary private address. */
  readonly address?: Address;
  readonly launchedAt?: Date;
  /** What it last proved, as the cloud mirrors it. */
  readonly recorded?: RecordedState;
  /** How the last push to it ended, as the cloud mirrors that. */
  readonly lastPush?: { readonly state: 'proven' | 'failed' | 'needs-reboot'; readonly at: Date };
}

export const routeSourceKinds = ['peerings', 'vpn', 'transit-gateways'] as const;
export type RouteSourceKind = (typeof routeSourceKinds)[number];

/** One range that the node's subnet routes somewhere outside its own network. */
export interface Route {
  readonly kind: RouteSourceKind;
  /** `pcx-…`, `tgw-…`, `vgw-…`, or the name of a Google Cloud peering. */
  readonly via: string;
  /** As the cloud prints it; it is parsed by whoever plans with it. */
  readonly destination: string;
  /**
   * A `blackhole` leads nowhere: its peering or gateway is gone or not accepted. What is `provisioning` leads
   * somewhere within a minute.
   */
  readonly state: 'active' | 'blackhole' | 'provisioning';
}

/** What the cloud knows of the networks around one node. */
export interface NetworkContext {
  /** The network, for people: a VPC id or the network's name. */
  readonly network: string;
  /** Every range of the node's own network. */
  readonly networkRanges: readonly Cidr[];
  /** Pod ranges that the cloud itself knows of (alias ranges, for one). */
  readonly podRanges: readonly Cidr[];
  /** Peered networks have routes to the pods, so traffic to them needs no masquerading (VPC-native GKE). */
  readonly arePodsRouted: boolean;
  readonly routes: readonly Route[];
  /** The kinds that were looked up: an absent kind was not asked for, which is not "none". */
  readonly discoveredKinds: readonly RouteSourceKind[];
}
