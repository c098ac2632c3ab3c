import { EventEmitter } from 'node:events';
import type { RateLimits } from './rate-limits';

export interface MetadataItem {
  readonly key: string;
  readonly value: string;
}

export interface LabAliasRange {
  readonly ipCidrRange: string;
  readonly subnetworkRangeName?: string;
}

/** A VM. The Compute API and the VM's metadata server share this state. */
export interface LabVm {
  project: string;
  zone: string;
  id: string;
  name: string;
  status: string;
  /** An RFC 3339 timestamp, like all timestamps in this file. The API omits a timestamp that is not set. */
  creationTimestamp?: string;
  lastStartTimestamp?: string;
  /** Whether the VM accepts writes. Early in an insert, it does not: writes fail with resourceNotReady. */
  isReady: boolean;
  labels: Record<string, string>;
  tags: string[];
  /** The metadata. Tests change it with `setMetadata`, which also wakes the clients that wait for a change. */
  metadata: MetadataItem[];
  /** Maps `NAMESPACE/KEY` to the value of a guest attribute. */
  guestAttributes: Record<string, string>;
  serviceAccounts?: { email: string }[];
  networkInterfaces: {
    network: string;
    subnetwork: string;
    networkIP?: string;
    aliasIpRanges?: LabAliasRange[];
  }[];
  disks: { boot: boolean; licenses?: string[]; guestOsFeatures?: { type: string }[] }[];
}

export interface LabPeering {
  name: string;
  state: 'ACTIVE' | 'INACTIVE';
  network: string;
  stateDetails?: string;
  importCustomRoutes?: boolean;
  exportCustomRoutes?: boolean;
  stackType?: 'IPV4_ONLY' | 'IPV4_IPV6';
}

export interface LabPeeringRoute {
  destRange: string;
  imported: boolean;
  type: 'SUBNET_PEERING_ROUTE' | 'STATIC_PEERING_ROUTE' | 'DYNAMIC_PEERING_ROUTE';
}

interface LabLayer4Config {
  ports?: string[];
}

/** A VPC firewall rule in the API's format. */
export interface LabFirewall {
  project: string;
  name: string;
  /** The name of a network in the same project. */
  network: string;
  direction: 'INGRESS' | 'EGRESS';
  priority?: number;
  disabled?: boolean;
  allowed?: (LabLayer4Config & { IPProtocol: string })[];
  denied?: (LabLayer4Config & { IPProtocol: string })[];
  sourceRanges?: string[];
  destinationRanges?: string[];
  sourceTags?: string[];
  targetTags?: string[];
  sourceServiceAccounts?: string[];
  targetServiceAccounts?: string[];
}

export interface LabFirewallPolicy {
  type: 'HIERARCHY' | 'NETWORK' | 'NETWORK_REGIONAL' | 'SYSTEM_REGIONAL';
  /** The policy's name. The name of a hierarchical policy is a number. */
  name: string;
  shortName?: string;
  priority?: number;
  rules: {
    priority: number;
    action: 'allow' | 'deny' | 'goto_next' | 'apply_security_profile_group';
    direction: 'INGRESS' | 'EGRESS';
    disabled?: boolean;
    targetType?: string;
    targetServiceAccounts?: string[];
    targetSecureTags?: { name: string; state: string }[];
    match: {
      srcIpRanges?: string[];
      destIpRanges?: string[];
      srcFqdns?: string[];
      destFqdns?: string[];
      srcNetworkType?: string;
      layer4Configs: (LabLayer4Config & { ipProtocol: string })[];
    };
  }[];
}

/** A forwarding rule, which gives a load balancer its address. */
export interface LabForwardingRule {
  project: string;
  region: string;
  name: string;
  /** The name of a network in the same project. */
  network: string;
  IPAddress: string;
  IPProtocol: string;
  loadBalancingScheme: 'INTERNAL' | 'INTERNAL_MANAGED';
  ports?: string[];
  allPorts?: boolean;
  allowGlobalAccess?: boolean;
}

export interface LabNetwork {
  project: string;
  name: string;
  internalIpv6Range?: string;
  /** The dynamic routing mode. Defaults to REGIONAL. */
  routingMode?: 'GLOBAL' | 'REGIONAL';
  peerings: LabPeering[];
  networkFirewallPolicyEnforcementOrder?: 'AFTER_CLASSIC_FIREWALL' | 'BEFORE_CLASSIC_FIREWALL';
  /** The firewall policies of the network and of its parent folders, in the format of `getEffectiveFirewalls`. */
  firewallPolicies?: LabFirewallPolicy[];
  /** Maps `PEERING/REGION` to the routes that are exchanged over the peering in that region. */
  routes: Record<string, LabPeeringRoute[]>;
}

/**
 * A static route with exactly one next hop. `network` and `nextHopPeering` are names, `nextHopIp` is an address, and
 * the other next hops are URLs.
 */
export interface LabRoute {
  project: string;
  name: string;
  /** The name of a network in the same project. */
  network: string;
  destRange: string;
  priority?: number;
  /** The route applies to instances with one of these network tags. Without tags, it applies to all instances. */
  tags?: string[];
  nextHopGateway?: string;
  nextHopInstance?: string;
  nextHopIp?: string;
  nextHopNetwork?: string;
  nextHopPeering?: string;
  nextHopVpnTunnel?: string;
}

/** A route that a Cloud Router learned over BGP. */
export interface LabLearnedRoute {
  destRange: string;
  priority?: number;
  routeStatus?: 'ACTIVE' | 'DROPPED' | 'INACTIVE' | 'PENDING';
  nextHopIp?: string;
  nextHopInterconnectAttachment?: string;
  nextHopVpnTunnel?: string;
}

export interface LabRouter {
  project: string;
  region: string;
  name: string;
  /** The name of a network in the same project. */
  network: string;
  /**
   * The routes that are in effect in the router's region. With global dynamic routing, they include routes that
   * routers in other regions learned.
   */
  bestRoutes: LabLearnedRoute[];
  /** The best routes that this router itself learned, whether or not they are in effect. */
  bestRoutesForRouter: LabLearnedRoute[];
}

export interface LabSubnetwork {
  project: string;
  region: string;
  name: string;
  /** The name of a network in the same project. */
  network: string;
  ipCidrRange: string;
  internalIpv6Prefix?: string;
  secondaryIpRanges?: { rangeName: string; ipCidrRange: string }[];
}

export type InjectedErrorKind = 'quota' | 'permission' | 'unavailable' | 'reset' | 'no-response';

/** An error for the next `times` calls of `method` (such as `compute.instances.get`), optionally in one project. */
export interface InjectedError {
  method: string;
  project?: string;
  kind: InjectedErrorKind;
  times: number;
}

/**
 * The state of the local Google Cloud, limited to what peermasq uses. Tests edit this state; the Compute API and the
 * metadata servers serve it.
 */
export interface GcpState {
  projects: Record<string, { number: string; metadata: MetadataItem[]; isGuestAttributesPolicyOn?: boolean }>;
  vms: LabVm[];
  networks: LabNetwork[];
  subnetworks: LabSubnetwork[];
  routes: LabRoute[];
  routers: LabRouter[];
  firewalls: LabFirewall[];
  forwardingRules: LabForwardingRule[];
  /** The only access token that the metadata servers issue and the API accepts. */
  token: string;
  /** How long an operation takes, in milliseconds. */
  operationMs: number;
  /**
   * The longest time, in milliseconds, that a call waits for an operation. The call then returns even if the operation
   * is still running. The real API may return at any time.
   */
  maxOperationWaitMs: number;
  /** If set, every operation fails with this error. */
  operationError?: { code: string; message: string };
  /** The maximum number of items on a page of a list. */
  pageSize: number;
  injectedErrors: InjectedError[];
  /** The rate quotas, if they are enforced (see `enableRateLimits`). */
  rateLimits?: RateLimits;
  /** Whether a reset leaves `lastStartTimestamp` unchanged. The real API's behaviour is not documented. */
  keepsStartOnReset?: boolean;
  /** The names of all API calls in order, such as `compute.instances.get`. */
  calls: string[];
  /**
   * Emits `change` when a VM's metadata or guest attributes change, `labels` when its labels change, `running` when an
   * inserted VM is running, and `reset` when a VM is reset. The listeners get the VM.
   */
  readonly changes: EventEmitter;
}

export function makeGcpState(): GcpState {
  const changes = new EventEmitter();
  changes.setMaxListeners(0);
  return {
    projects: {},
    vms: [],
    networks: [],
    subnetworks: [],
    routes: [],
    routers: [],
    firewalls: [],
    forwardingRules: [],
    token: 'ya29.lab',
    operationMs: 20,
    maxOperationWaitMs: 120_000,
    pageSize: 500,
    injectedErrors: [],
    calls: [],
    changes,
  };
}

let lastId = 4_520_031_799_277_581_759n;

/** Adds a running Debian VM. If its project does not exist yet, adds that, too. */
export function addVm(cloud: GcpState, given: Partial<LabVm> = {}): LabVm {
  const vm = makeVm(given);
  cloud.projects[vm.project] ??= { number: '415104041262', metadata: [] };
  cloud.vms.push(vm);
  return vm;
}

/** Returns a VM without adding it to a cloud. */
export function makeVm(given: Partial<LabVm>): LabVm {
  const id = String(++lastId);
  return {
    project: 'identity-nonprod',
    zone: 'europe-west1-c',
    id,
    name: `vm-${id.slice(-6)}`,
    status: 'RUNNING',
    isReady: true,
    labels: {},
    tags: [],
    metadata: [],
    guestAttributes: {},
    networkInterfaces: [],
    disks: [{ boot: true, licenses: [url('projects/debian-cloud/global/licenses/debian-12-bookworm')] }],
    ...given,
  };
}

/** Sets a key in a VM's metadata, or removes the key if `value` is undefined. Wakes clients that wait for a change. */
export function setMetadata(cloud: GcpState, vm: LabVm, key: string, value: string | undefined): void {
  const others = vm.metadata.filter((item) => item.key !== key);
  vm.metadata = value === undefined ? others : [...others, { key, value }];
  cloud.changes.emit('change', vm);
}

export const metadataOf = ({ metadata }: LabVm, key: string): string | undefined =>
  metadata.find((item) => item.key === key)?.value;

export const callsOf = ({ calls }: GcpState, method: string): number =>
  calls.filter((call) => call === method).length;

export const url = (path: string): string => `https://www.googleapis.com/compute/v1/${path}`;
export const networkUrl = (project: string, name: string) =>
  url(`projects/${project}/global/networks/${name}`);
export const subnetworkUrl = (project: string, region: string, name: string) =>
  url(`projects/${project}/regions/${region}/subnetworks/${name}`);

/**
 * Returns whether guest attributes are enabled. The instance's setting overrides the project's, and any value other
 * than TRUE disables them.
 */
export function hasGuestAttributes(cloud: GcpState, vm: LabVm): boolean {
  const requireProject = cloud.projects[vm.project]?.metadata ?? [];
  const key = 'enable-guest-attributes';
  const value = metadataOf(vm, key) ?? requireProject.find((item) => item.key === key)?.value;
  return value?.toUpperCase() === 'TRUE';
}
