import { EventEmitter } from 'node:events';

export interface Item {
  readonly key: string;
  readonly value: string;
}

export interface AliasRange {
  readonly ipCidrRange: string;
  readonly subnetworkRangeName?: string;
}

/** One VM: what the Compute API and its own metadata server both see. */
export interface Vm {
  project: string;
  zone: string;
  id: string;
  name: string;
  status: string;
  /** While false the API answers writes with resourceNotReady, as it does early in an insert. */
  isReady: boolean;
  labels: Record<string, string>;
  tags: string[];
  /** Change it through `setMetadata` below: that wakes the programs that wait for a change. */
  metadata: Item[];
  /** `NAMESPACE/KEY` → value. */
  guestAttributes: Record<string, string>;
  networkInterfaces: {
    network: string;
    subnetwork: string;
    networkIP?: string;
    aliasIpRanges?: AliasRange[];
  }[];
  disks: { boot: boolean; licenses?: string[]; guestOsFeatures?: { type: string }[] }[];
}

export interface Peering {
  name: string;
  state: 'ACTIVE' | 'INACTIVE';
  network: string;
}

export interface PeeringRoute {
  destRange: string;
  imported: boolean;
  type: 'SUBNET_PEERING_ROUTE' | 'STATIC_PEERING_ROUTE' | 'DYNAMIC_PEERING_ROUTE';
}

export interface Network {
  project: string;
  name: string;
  internalIpv6Range?: string;
  peerings: Peering[];
  /** `PEERING/REGION` → what that peering offers there. */
  routes: Record<string, PeeringRoute[]>;
}

export interface Subnetwork {
  project: string;
  region: string;
  name: string;
  /** The name of a network of the same project. */
  network: string;
  ipCidrRange: string;
  internalIpv6Prefix?: string;
  secondaryIpRanges?: { rangeName: string; ipCidrRange: string }[];
}

export type FaultKind = 'quota' | 'permission' | 'unavailable' | 'reset' | 'silence';

/** The next `times` calls of `method` (`compute.instances.get`…) fail. */
export interface Fault {
  method: string;
  kind: FaultKind;
  times: number;
}

/** A Google Cloud, as much of it as peermasq uses. Tests edit it; the two servers show it. */
export interface GoogleCloud {
  projects: Record<string, { number: string; metadata: Item[]; isGuestAttributesPolicyOn?: boolean }>;
  vms: Vm[];
  networks: Network[];
  subnetworks: Subnetwork[];
  /** The one access token that the metadata servers give and the API takes. */
  token: string;
  /** How long an operation runs, in milliseconds. */
  operationMs: number;
  /** When set, every operation ends with this error. */
  operationError?: { code: string; message: string };
  /** The most that one page of a list holds. */
  pageSize: number;
  faults: Fault[];
  /** Each API call that arrived, in order: `compute.instances.get`. */
  calls: string[];
  readonly changes: EventEmitter;
}

export function makeGoogleCloud(): GoogleCloud {
  const changes = new EventEmitter();
  changes.setMaxListeners(0);
  return {
    projects: {},
    vms: [],
    networks: [],
    subnetworks: [],
    token: 'ya29.lab',
    operationMs: 20,
    pageSize: 500,
    faults: [],
    calls: [],
    changes,
  };
}

let lastId = 4_520_031_799_277_581_759n;

/** Adds a running Debian VM, and its project if it is new. */
export function addVm(cloud: GoogleCloud, given: Partial<Vm> = {}): Vm {
  const id = String(++lastId);
  const vm: Vm = {
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
  cloud.projects[vm.project] ??= { number: '415104041262', metadata: [] };
  cloud.vms.push(vm);
  return vm;
}

/** Sets one key of a VM's metadata, or takes it away, and wakes whoever waits for it. */
export function setMetadata(cloud: GoogleCloud, vm: Vm, key: string, value: string | undefined): void {
  const others = vm.metadata.filter((item) => item.key !== key);
  vm.metadata = value === undefined ? others : [...others, { key, value }];
  cloud.changes.emit('change');
}

export const metadataOf = ({ metadata }: Vm, key: string): string | undefined =>
  metadata.find((item) => item.key === key)?.value;

export const callsOf = ({ calls }: GoogleCloud, method: string): number =>
  calls.filter((call) => call === method).length;

export const url = (path: string): string => `https://www.googleapis.com/compute/v1/${path}`;
export const networkUrl = (project: string, name: string) =>
  url(`projects/${project}/global/networks/${name}`);
export const subnetworkUrl = (project: string, region: string, name: string) =>
  url(`projects/${project}/regions/${region}/subnetworks/${name}`);

/** The instance's own attribute wins over the project's; any other value than TRUE is off. */
export function hasGuestAttributes(cloud: GoogleCloud, vm: Vm): boolean {
  const inProject = cloud.projects[vm.project]?.metadata ?? [];
  const key = 'enable-guest-attributes';
  const value = metadataOf(vm, key) ?? inProject.find((item) => item.key === key)?.value;
  return value?.toUpperCase() === 'TRUE';
}
