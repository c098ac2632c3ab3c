import { AwsApiError } from './api-error';
import type { SsmDocument } from '../../../infra/aws/document';
import type { Machine } from '../machine';
import type { LabQueue } from './sqs-queue';

export interface LabInstance {
  readonly instanceId: string;
  readonly imageId: string;
  readonly subnetId: string;
  privateDnsName: string;
  platformDetails: string;
  launchTime: Date;
  state: 'pending' | 'running' | 'shutting-down' | 'terminated' | 'stopping' | 'stopped';
  readonly tags: Map<string, string>;
}

/** The SSM agent of an instance. It is unknown to SSM until `registersAt`. */
export interface LabAgent {
  registersAt: number;
  pingStatus: 'Online' | 'ConnectionLost';
  version: string;
  platformType: 'Linux' | 'Windows';
  /** The machine on which the agent runs commands. */
  machine: Machine;
  /** Whether IAM denies commands on this instance. */
  isCommandDenied: boolean;
  /** An additional delay for each command, in milliseconds. */
  commandDelayMs?: number;
}

export interface LabVpc {
  readonly vpcId: string;
  /** The CIDR ranges. The first range is the primary one. */
  cidrs: string[];
  ipv6Cidrs: string[];
  /** The ranges that are listed but not associated: they were disassociated, or their association failed. */
  formerCidrs: string[];
}

export interface LabSubnet {
  readonly subnetId: string;
  readonly vpcId: string;
  cidr: string;
  ipv6Cidr?: string;
}

/** An elastic network interface. Its first address is the primary address. */
export interface LabInterface {
  readonly networkInterfaceId: string;
  readonly subnetId: string;
  addresses: string[];
  ipv6Addresses: string[];
  /** The prefixes that are delegated to the interface for pods. */
  ipv4Prefixes?: string[];
  groupIds: string[];
  /** Absent for interfaces that AWS manages, such as the interface of a database. */
  readonly attachment?: { readonly instanceId: string; readonly deviceIndex: number };
}

/** A rule in EC2's format. It has no ports if it covers all protocols (`-1`). */
export interface LabPermission {
  readonly ipProtocol: string;
  readonly fromPort?: number;
  readonly toPort?: number;
  readonly ipRanges?: readonly { readonly cidrIp: string }[];
  readonly ipv6Ranges?: readonly { readonly cidrIpv6: string }[];
  readonly prefixListIds?: readonly { readonly prefixListId: string }[];
  readonly groups?: readonly {
    readonly groupId: string;
    readonly userId?: string;
    readonly vpcPeeringConnectionId?: string;
    readonly peeringStatus?: string;
  }[];
}

export interface LabSecurityGroup {
  readonly groupId: string;
  readonly groupName: string;
  readonly vpcId: string;
  ingress: LabPermission[];
  egress: LabPermission[];
}

export interface LabAclEntry {
  readonly ruleNumber: number;
  readonly egress: boolean;
  readonly ruleAction: 'allow' | 'deny';
  /** The protocol number, or `-1` for all protocols. */
  readonly protocol: string;
  readonly cidrBlock?: string;
  readonly ipv6CidrBlock?: string;
  readonly portRange?: { readonly from: number; readonly to: number };
}

export interface LabAcl {
  readonly networkAclId: string;
  readonly vpcId: string;
  readonly isDefault: boolean;
  subnetIds: string[];
  entries: LabAclEntry[];
}

/** A route in EC2's format, with one destination, one target and a state. */
export interface LabRoute {
  readonly destinationCidrBlock?: string;
  readonly destinationIpv6CidrBlock?: string;
  readonly destinationPrefixListId?: string;
  readonly gatewayId?: string;
  readonly natGatewayId?: string;
  readonly transitGatewayId?: string;
  readonly vpcPeeringConnectionId?: string;
  readonly networkInterfaceId?: string;
  readonly origin?: 'CreateRouteTable' | 'CreateRoute' | 'EnableVgwRoutePropagation';
  readonly state?: 'active' | 'blackhole';
}

export interface LabRouteTable {
  readonly routeTableId: string;
  readonly vpcId: string;
  isMain: boolean;
  subnetIds: string[];
  routes: LabRoute[];
}

export interface LabPeeringSide {
  readonly vpcId?: string;
  readonly cidrBlock?: string;
  readonly ipv6CidrBlock?: string;
  readonly ownerId?: string;
  readonly region?: string;
}

export interface LabPeering {
  readonly vpcPeeringConnectionId: string;
  status:
    | 'initiating-request'
    | 'pending-acceptance'
    | 'provisioning'
    | 'active'
    | 'deleted'
    | 'rejected'
    | 'expired'
    | 'failed';
  /** One side may be missing, for example if the peer is in another account. */
  accepterVpcInfo?: LabPeeringSide;
  requesterVpcInfo?: LabPeeringSide;
}

export const isRegistered = (agent: LabAgent | undefined): agent is LabAgent =>
  agent !== undefined && agent.registersAt <= Date.now();

export const isOnline = (agent: LabAgent | undefined): agent is LabAgent =>
  isRegistered(agent) && agent.pingStatus === 'Online';

/** A command that SSM has accepted. */
export interface LabCommand {
  readonly commandId: string;
  readonly documentName: string;
  readonly comment: string;
  readonly requestedAt: number;
  readonly instanceIds: readonly string[];
  readonly parameters: Readonly<Record<string, readonly string[]>>;
  /** The delivery timeout: the number of seconds within which the agent must fetch the command. */
  readonly timeoutSeconds: number;
  /** A number of instances or a percentage, like `maxErrors`. */
  readonly maxConcurrency: string;
  readonly maxErrors: string;
}

/** A command on one instance. */
export interface LabInvocation {
  readonly commandId: string;
  readonly instanceId: string;
  readonly documentName: string;
  readonly comment: string;
  readonly requestedAt: number;
  status: 'Pending' | 'InProgress' | 'Delayed' | 'Success' | 'Failed' | 'TimedOut' | 'Cancelled';
  statusDetails: string;
  responseCode: number;
  stdout: string;
  stderr: string;
}

/** A launch that is paused by a lifecycle action. The action is pending until it has a result. */
export interface LabLifecycleAction {
  readonly instanceId: string;
  readonly groupName: string;
  readonly hookName: string;
  readonly token: string;
  result?: 'CONTINUE' | 'ABANDON';
}

/** The state of one local account. Tests may change it directly. */
export interface AwsState {
  readonly account: string;
  readonly region: string;
  readonly instances: Map<string, LabInstance>;
  readonly subnets: Map<string, LabSubnet>;
  readonly vpcs: Map<string, LabVpc>;
  readonly images: Map<string, { readonly name: string; readonly isDeprecated: boolean }>;
  readonly routeTables: LabRouteTable[];
  readonly peerings: LabPeering[];
  readonly prefixLists: Map<string, string[]>;
  /** The network interfaces by ID. */
  readonly interfaces: Map<string, LabInterface>;
  readonly securityGroups: LabSecurityGroup[];
  readonly acls: LabAcl[];
  readonly agents: Map<string, LabAgent>;
  readonly documents: Map<string, SsmDocument>;
  readonly commands: LabCommand[];
  readonly invocations: LabInvocation[];
  /** The queues by name. */
  readonly queues: Map<string, LabQueue>;
  readonly lifecycleActions: LabLifecycleAction[];
  /** The maximum number of entries per page, even if the caller requests more. */
  pageSize: number;
  /** The delay in milliseconds until SSM lists a command that it has accepted. */
  invocationVisibilityDelayMs: number;
  /**
   * The milliseconds that a simulated second takes in the services' delays and deadlines. The expiry of credentials is
   * not scaled.
   */
  secondMs: number;
}

export function makeState(account: string, region: string): AwsState {
  return {
    account,
    region,
    instances: new Map(),
    subnets: new Map(),
    vpcs: new Map(),
    images: new Map(),
    routeTables: [],
    peerings: [],
    prefixLists: new Map(),
    interfaces: new Map(),
    securityGroups: [],
    acls: [],
    agents: new Map(),
    documents: new Map(),
    commands: [],
    invocations: [],
    queues: new Map(),
    lifecycleActions: [],
    pageSize: Number.POSITIVE_INFINITY,
    invocationVisibilityDelayMs: 0,
    secondMs: 1_000,
  };
}

export const primaryInterfaceId = (instanceId: string): string => instanceId.replace('i-', 'eni-');

/** Returns one page and the token of the next page. Tokens are opaque to the caller. */
export function paginate<T>(all: readonly T[], token: string | undefined, size: number): [T[], string?] {
  const start =
    token === undefined
      ? 0
      : Number(/^page:(\d+)$/.exec(Buffer.from(token, 'base64').toString())?.[1] ?? Number.NaN);
  if (Number.isNaN(start)) throw new AwsApiError('InvalidNextToken', 'The specified token is not valid');
  const end = start + size;
  return end < all.length ? [all.slice(start, end), btoa(`page:${end}`)] : [all.slice(start)];
}
