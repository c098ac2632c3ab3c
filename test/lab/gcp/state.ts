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

/** One VM: what the Compute API and its own metadata server both see. */
export interface LabVm {
  project: string;
  zone: string;
  id: string;
  name: string;
  status: string;
  /** RFC 3339, like all timestamps here; absent fields are omitted by the API. */
  creationTimestamp?: string;
  lastStartTimestamp?: string;
  /** While false, writes fail with resourceNotReady, as early in an insert. */
  isReady: boolean;
  labels: Record<string, string>;
  tags: string[];
  /** Change it through `setMetadata` below, which wakes waiting programs. */
  metadata: MetadataItem[];
  /** `NAMESPACE/KEY` → value. */
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

/** A VPC firewall rule in the API's form. */
export interface LabFirewall {
  project: string;
  name: string;
  /** Name of a network in the same project. */
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
  /** A number for a hierarchical policy. */
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

/** A load balancer's address. */
export interface LabForwardingRule {
  project: string;
  region: string;
  name: string;
  /** Name of a network in the same project. */
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
  /** Routing mode for dynamic routes; default REGIONAL. */
  routingMode?: 'GLOBAL' | 'REGIONAL';
  peerings: LabPeering[];
  networkFirewallPolicyEnforcementOrder?: 'AFTER_CLASSIC_FIREWALL' | 'BEFORE_CLASSIC_FIREWALL';
  /** Policies associated with it or with a folder above it, as returned by `getEffectiveFirewalls`. */
  firewallPolicies?: LabFirewallPolicy[];
  /** `PEERING/REGION` → routes that the peering offers there. */
  routes: Record<string, LabPeeringRoute[]>;
}

/** A static route of a network; one of the next hops is set. Names of `network` and `nextHopPeering`, else URLs. */
export interface LabRoute {
  project: string;
  name: string;
  /** Name of a network in the same project. */
  network: string;
  destRange: string;
  priority?: number;
  /** Network tags of the instances it applies to; all if empty. */
  tags?: string[];
  nextHopGateway?: string;
  nextHopInstance?: string;
  nextHopIp?: string;
  nextHopNetwork?: string;
  nextHopPeering?: string;
  nextHopVpnTunnel?: string;
}

/** What a Cloud Router learned over BGP. */
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
  /** Name of a network in the same project. */
  network: string;
  /**
   * In force in the router's region; with global dynamic routing, including routes learned by routers in other
   * regions.
   */
  bestRoutes: LabLearnedRoute[];
  /** The best routes that this router learned itself, in force or not. */
  bestRoutesForRouter: LabLearnedRoute[];
}

export interface LabSubnetwork {
  project: string;
  region: string;
  name: string;
  /** Name of a network in the same project. */
  network: string;
  ipCidrRange: string;
  internalIpv6Prefix?: string;
  secondaryIpRanges?: { rangeName: string; ipCidrRange: string }[];
}

export type InjectedErrorKind = 'quota' | 'permission' | 'unavailable' | 'reset' | 'no-response';

/** The next `times` calls of `method` (`compute.instances.get`…) fail; optionally only for one project. */
export interface InjectedError {
  method: string;
  project?: string;
  kind: InjectedErrorKind;
  times: number;
}

/** The state of the local Google Cloud, limited to what peermasq uses. Tests edit it; the two servers serve it. */
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
  /** Duration of an operation in milliseconds. */
  operationMs: number;
  /** Milliseconds after which waiting for an operation returns in any case; the real API may return at any time. */
  maxOperationWaitMs: number;
  /** If set, every operation fails with this error. */
  operationError?: { code: string; message: string };
  /** Maximum page size of a list. */
  pageSize: number;
  injectedErrors: InjectedError[];
  /** Rate quotas; see `limitCalls`. */
  rateLimits?: RateLimits;
  /** Whether a reset keeps `lastStartTimestamp`. The real behaviour is not documented. */
  keepsStartOnReset?: boolean;
  /** Each API call, in order: `compute.instances.get`. */
  calls: string[];
  /** `change`: of metadata or guest attributes; `labels`, `running`, `reset`: of that VM, which is passed. */
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

/** Adds a running Debian VM, and its project if new. */
export function addVm(cloud: GcpState, given: Partial<LabVm> = {}): LabVm {
  const vm = makeVm(given);
  cloud.projects[vm.project] ??= { number: '415104041262', metadata: [] };
  cloud.vms.push(vm);
  return vm;
}

/** A VM that is not in a cloud yet. */
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

/** Sets or removes one key of a VM's metadata, and wakes waiting programs. */
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

/** The instance's attribute overrides the project's; any value other than TRUE means disabled. */
export function hasGuestAttributes(cloud: GcpState, vm: LabVm): boolean {
  const requireProject = cloud.projects[vm.project]?.metadata ?? [];
  const key = 'enable-guest-attributes';
  const value = metadataOf(vm, key) ?? requireProject.find((item) => item.key === key)?.value;
  return value?.toUpperCase() === 'TRUE';
}
