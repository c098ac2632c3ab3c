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
  /** RFC 3339, as all timestamps here; absent is what the API leaves out. */
  creationTimestamp?: string;
  lastStartTimestamp?: string;
  /** While false the API answers writes with resourceNotReady, as it does early in an insert. */
  isReady: boolean;
  labels: Record<string, string>;
  tags: string[];
  /** Change it through `setMetadata` below: that wakes the programs that wait for a change. */
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

/** A VPC firewall rule, as the API has it. */
export interface LabFirewall {
  project: string;
  name: string;
  /** The name of a network of the same project. */
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
  /** A number where it is hierarchical. */
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
  /** The name of a network of the same project. */
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
  /** Of dynamic routes; REGIONAL unless told. */
  routingMode?: 'GLOBAL' | 'REGIONAL';
  peerings: LabPeering[];
  networkFirewallPolicyEnforcementOrder?: 'AFTER_CLASSIC_FIREWALL' | 'BEFORE_CLASSIC_FIREWALL';
  /** Policies associated with it, or with a folder above it, as `getEffectiveFirewalls` tells them. */
  firewallPolicies?: LabFirewallPolicy[];
  /** `PEERING/REGION` → what that peering offers there. */
  routes: Record<string, LabPeeringRoute[]>;
}

/** A static route of a network; one of the next hops is set. Names of `network` and `nextHopPeering`, else URLs. */
export interface LabRoute {
  project: string;
  name: string;
  /** The name of a network of the same project. */
  network: string;
  destRange: string;
  priority?: number;
  /** The route is for instances with one of these network tags; for all when there are none. */
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
  /** The name of a network of the same project. */
  network: string;
  /** In force in the router's region: with global dynamic routing also what routers of other regions learned. */
  bestRoutes: LabLearnedRoute[];
  /** The best that this router itself learned, whether in force or not. */
  bestRoutesForRouter: LabLearnedRoute[];
}

export interface LabSubnetwork {
  project: string;
  region: string;
  name: string;
  /** The name of a network of the same project. */
  network: string;
  ipCidrRange: string;
  internalIpv6Prefix?: string;
  secondaryIpRanges?: { rangeName: string; ipCidrRange: string }[];
}

export type InjectedErrorKind = 'quota' | 'permission' | 'unavailable' | 'reset' | 'no-response';

/** The next `times` calls of `method` (`compute.instances.get`…) fail; of one project, where it is named. */
export interface InjectedError {
  method: string;
  project?: string;
  kind: InjectedErrorKind;
  times: number;
}

/** A Google Cloud, as much of it as peermasq uses. Tests edit it; the two servers show it. */
export interface GcpState {
  projects: Record<string, { number: string; metadata: MetadataItem[]; isGuestAttributesPolicyOn?: boolean }>;
  vms: LabVm[];
  networks: LabNetwork[];
  subnetworks: LabSubnetwork[];
  routes: LabRoute[];
  routers: LabRouter[];
  firewalls: LabFirewall[];
  forwardingRules: LabForwardingRule[];
  /** The one access token that the metadata servers give and the API takes. */
  token: string;
  /** How long an operation runs, in milliseconds. */
  operationMs: number;
  /** After this a call that waits for an operation answers all the same. The real one may do so at any time. */
  maxOperationWaitMs: number;
  /** When set, every operation ends with this error. */
  operationError?: { code: string; message: string };
  /** The most that one page of a list holds. */
  pageSize: number;
  injectedErrors: InjectedError[];
  /** Rate quotas; see `limitCalls`. */
  rateLimits?: RateLimits;
  /** A reset leaves `lastStartTimestamp` as it is. What the real one does is not documented. */
  keepsStartOnReset?: boolean;
  /** Each API call that arrived, in order: `compute.instances.get`. */
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

/** Adds a running Debian VM, and its project if it is new. */
export function addVm(cloud: GcpState, given: Partial<LabVm> = {}): LabVm {
  const vm = makeVm(given);
  cloud.projects[vm.project] ??= { number: '415104041262', metadata: [] };
  cloud.vms.push(vm);
  return vm;
}

/** A VM that is in no cloud yet. */
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

/** Sets one key of a VM's metadata, or takes it away, and wakes whoever waits for it. */
export function setMetadata(cloud: GcpState, vm: LabVm, key: string, value: string | undefined): void {
  const others = vm.metadata.filter((item) => item.key !== key);
  vm.metadata = value === undefined ? others : [...others, { key, value }];
  cloud.changes.emit('change', vm);
}

export const metadataOf = ({ metadata }: LabVm, key: string): string | undefined =>
  metadata.find((item) => item.key === key)?.value;

export const regionOf = (zone: string): string => zone.slice(0, zone.lastIndexOf('-'));

export const callsOf = ({ calls }: GcpState, method: string): number =>
  calls.filter((call) => call === method).length;

export const url = (path: string): string => `https://www.googleapis.com/compute/v1/${path}`;
export const networkUrl = (project: string, name: string) =>
  url(`projects/${project}/global/networks/${name}`);
export const subnetworkUrl = (project: string, region: string, name: string) =>
  url(`projects/${project}/regions/${region}/subnetworks/${name}`);

/** The instance's own attribute wins over the project's; any other value than TRUE is off. */
export function hasGuestAttributes(cloud: GcpState, vm: LabVm): boolean {
  const requireProject = cloud.projects[vm.project]?.metadata ?? [];
  const key = 'enable-guest-attributes';
  const value = metadataOf(vm, key) ?? requireProject.find((item) => item.key === key)?.value;
  return value?.toUpperCase() === 'TRUE';
}
