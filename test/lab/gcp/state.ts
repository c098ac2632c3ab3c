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

/** A VM, as both the Compute API and its own metadata server see it. */
export interface LabVm {
  project: string;
  zone: string;
  id: string;
  name: string;
  status: string;
  /** A time in RFC 3339, like all timestamps here. The API omits fields that are absent. */
  creationTimestamp?: string;
  lastStartTimestamp?: string;
  /** Whether the VM accepts writes. If false, they fail with resourceNotReady, as early in an insert. */
  isReady: boolean;
  labels: Record<string, string>;
  tags: string[];
  /** The metadata. Change it only through `setMetadata` below, which wakes waiting programs. */
  metadata: MetadataItem[];
  /** The guest attributes, as `NAMESPACE/KEY` → value. */
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
  /** The policy's name, which is a number if the policy is hierarchical. */
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

/** The address of a load balancer. */
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
  /** The routing mode for dynamic routes. Defaults to REGIONAL. */
  routingMode?: 'GLOBAL' | 'REGIONAL';
  peerings: LabPeering[];
  networkFirewallPolicyEnforcementOrder?: 'AFTER_CLASSIC_FIREWALL' | 'BEFORE_CLASSIC_FIREWALL';
  /**
   * The policies that are associated with the network or with a folder above it, as `getEffectiveFirewalls` returns
   * them.
   */
  firewallPolicies?: LabFirewallPolicy[];
  /** The routes that peerings offer, as `PEERING/REGION` → routes. */
  routes: Record<string, LabPeeringRoute[]>;
}

/**
 * A static route of a network, with exactly one next hop. `network` and `nextHopPeering` are names; the other next
 * hops are URLs.
 */
export interface LabRoute {
  project: string;
  name: string;
  /** The name of a network in the same project. */
  network: string;
  destRange: string;
  priority?: number;
  /** The network tags of the instances to which the route applies; it applies to all instances if empty. */
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
   * The routes in force in the router's region. With global dynamic routing, these include routes that routers in
   * other regions learned.
   */
  bestRoutes: LabLearnedRoute[];
  /** The best routes that this router learned itself, whether or not they are in force. */
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

/**
 * Makes the next `times` calls of `method` (such as `compute.instances.get`) fail, optionally only for one project.
 */
export interface InjectedError {
  method: string;
  project?: string;
  kind: InjectedErrorKind;
  times: number;
}

/**
 * The state of the local Google Cloud, as far as peermasq uses it. Tests edit the state, and the two servers serve
 * it.
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
  /** The access token. The metadata servers issue no other token, and the API accepts no other. */
  token: string;
  /** How long an operation takes, in milliseconds. */
  operationMs: number;
  /**
   * After this many milliseconds, waiting for an operation returns even if the operation is still running. The real
   * API may return at any time.
   */
  maxOperationWaitMs: number;
  /** If set, every operation fails with this error. */
  operationError?: { code: string; message: string };
  /** The maximum page size of a list. */
  pageSize: number;
  injectedErrors: InjectedError[];
  /** The rate quotas, if they are enforced (see `enableRateLimits`). */
  rateLimits?: RateLimits;
  /** Whether a reset keeps `lastStartTimestamp`. The behaviour of the real API is not documented. */
  keepsStartOnReset?: boolean;
  /** The names of all API calls in order, such as `compute.instances.get`. */
  calls: string[];
  /**
   * Emits `change` for a change of metadata or guest attributes, and `labels`, `running` and `reset` with the VM
   * concerned.
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

/** Adds a running Debian VM, and also its project if the project does not exist yet. */
export function addVm(cloud: GcpState, given: Partial<LabVm> = {}): LabVm {
  const vm = makeVm(given);
  cloud.projects[vm.project] ??= { number: '415104041262', metadata: [] };
  cloud.vms.push(vm);
  return vm;
}

/** Makes a VM that is not in a cloud yet. */
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

/** Sets or removes one key in a VM's metadata, and wakes waiting programs. */
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
 * than TRUE means disabled.
 */
export function hasGuestAttributes(cloud: GcpState, vm: LabVm): boolean {
  const requireProject = cloud.projects[vm.project]?.metadata ?? [];
  const key = 'enable-guest-attributes';
  const value = metadataOf(vm, key) ?? requireProject.find((item) => item.key === key)?.value;
  return value?.toUpperCase() === 'TRUE';
}
