import { randomUUID } from 'node:crypto';
import type { SsmDocument } from '../../../infra/aws/document';
import type { Machine } from '../machine';
import { makeRateLimits } from './rate-limits';
import type { ApiCall, AccountContext } from './server-state';
import { runInstancesEvent, launchLifecycleEvent, stateChangeEvent } from './events';
import { LabQueue, type QueueSettings } from './sqs-queue';
import { accessDenied, serviceOf, throttlingError } from './errors';
import { AwsApiError } from './api-error';
import {
  makeState,
  primaryInterfaceId,
  type AwsState,
  type LabAclEntry,
  type LabInstance,
  type LabPermission,
  type LabRoute,
} from './state';

export interface NewNode {
  readonly subnetId: string;
  /** The name of the cluster. The node gets the cluster tag that EKS and kOps set. */
  readonly cluster?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly state?: LabInstance['state'];
  readonly imageId?: string;
  readonly platformDetails?: string;
  /** An address in the subnet's range. Defaults to the next free address. */
  readonly address?: string;
  readonly ipv6Address?: string;
  readonly agentVersion?: string;
  /** Whether the SSM agent is online from the start (default: true). `setReady` changes this later. */
  readonly isReady?: boolean;
  /** The time in milliseconds until the SSM agent registers. If set, `isReady` is ignored. */
  readonly registersAfterMs?: number;
  /** An additional delay for each command, in milliseconds. */
  readonly commandDelayMs?: number;
  /** The machine on which the SSM agent runs commands. */
  readonly machine?: Machine;
}

export interface NewNetwork {
  readonly vpcId: string;
  readonly cidrs: readonly string[];
  readonly ipv6Cidrs?: readonly string[];
  /** The IDs of the subnets. Each subnet has the network's whole range, unless a test changes the range. */
  readonly subnetIds: readonly string[];
  /** Routes in the main route table, which all subnets use unless a test associates another table. */
  readonly routes?: readonly LabRoute[];
}

type Event = Record<string, unknown>;

/** A local AWS account, in a single region. */
export interface LabAccount {
  readonly state: AwsState;
  /** All API calls to this account, including those that were rejected. */
  readonly calls: ApiCall[];
  count(action: string): number;
  addNetwork(network: NewNetwork): void;
  /**
   * Adds a node.
   * @returns its instance ID
   */
  addNode(node: NewNode): string;
  /** Sets whether a node's SSM agent is registered and online. */
  setReady(id: string, isReady: boolean): void;
  putDocument(name: string, document: SsmDocument): void;
  addQueue(settings: QueueSettings, deadLetters?: LabQueue): LabQueue;
  /**
   * Pauses the launch of an instance with a lifecycle hook.
   * @returns the lifecycle event
   */
  startLifecycleAction(id: string, groupName: string, hookName: string): Event;
  /** Throttles the next calls of an action with the throttling error of the service. */
  throttle(action: string, times: number): void;
  /** Denies all further calls of an action, such as `ec2:CreateTags`, with the error that IAM returns. */
  deny(action: string, resource?: string): void;
  fail(action: string, code: string, message: string, times?: number, status?: number): void;
  /** Returns the events that EventBridge delivers when these instances start. */
  runInstancesEvent(ids: readonly string[]): Event;
  stateChangeEvent(id: string): Event;
}

/** The options that all accounts in a lab share. */
export interface AccountOptions {
  readonly region: string;
  readonly stopSignal: AbortSignal;
  /** Receives the events that SSM emits. */
  readonly emit: (event: object) => void;
  /** Returns the next number for instance IDs, which are unique across accounts. */
  nextInstance(): number;
}

/** A machine that cannot run programs. It is the default for nodes to which a test pushes nothing. */
const noMachine: Machine = {
  run: () => Promise.reject(new Error('This node has no machine that can run commands')),
};

export function makeAccount(
  id: string,
  options: AccountOptions,
): { account: LabAccount; context: AccountContext } {
  const state = makeState(id, options.region);
  const context: AccountContext = {
    state,
    calls: [],
    injectedErrors: [],
    rateLimits: makeRateLimits(),
    running: new Set(),
    stopSignal: options.stopSignal,
    emit: options.emit,
  };
  const account: LabAccount = {
    state,
    calls: context.calls,
    count: (action) => context.calls.filter((call) => call.action === action).length,
    ...resourceMethods(state, options),
    ...errorInjectionMethods(context),

    runInstancesEvent: (ids) => runInstancesEvent(state, ids),
    stateChangeEvent: (instanceId) => stateChangeEvent(state, instanceId),
    startLifecycleAction(instanceId, groupName, hookName) {
      const action = { instanceId, groupName, hookName, token: randomUUID() };
      state.lifecycleActions.push(action);
      return launchLifecycleEvent(state, action);
    },
  };
  return { account, context };
}

type ResourceMethods = 'addNetwork' | 'addNode' | 'setReady' | 'putDocument' | 'addQueue';

function resourceMethods(state: AwsState, options: AccountOptions): Pick<LabAccount, ResourceMethods> {
  return {
    addNetwork({ vpcId, cidrs, ipv6Cidrs = [], subnetIds, routes = [] }) {
      state.vpcs.set(vpcId, { vpcId, cidrs: [...cidrs], ipv6Cidrs: [...ipv6Cidrs], formerCidrs: [] });
      const [cidr = '', ipv6Cidr] = [cidrs[0], ipv6Cidrs[0]];
      for (const subnetId of subnetIds) {
        state.subnets.set(subnetId, { subnetId, vpcId, cidr, ...(ipv6Cidr !== undefined && { ipv6Cidr }) });
      }
      addDefaults(state, vpcId, ipv6Cidrs.length > 0);
      const routeTableId = vpcId.replace('vpc-', 'rtb-');
      state.routeTables.push({ routeTableId, vpcId, isMain: true, subnetIds: [], routes: [...routes] });
    },
    addNode(node) {
      if (!state.subnets.has(node.subnetId)) throw new Error(`There is no subnet ${node.subnetId}`);
      const instanceId = `i-${options.nextInstance().toString(16).padStart(17, '0')}`;
      addInstance(state, instanceId, node);
      return instanceId;
    },
    setReady(id, isReady) {
      const agent = state.agents.get(id);
      if (!agent) throw new Error(`There is no instance ${id}`);
      agent.registersAt = Math.min(agent.registersAt, isReady ? 0 : agent.registersAt);
      agent.pingStatus = isReady ? 'Online' : 'ConnectionLost';
    },
    putDocument(name, document) {
      if (JSON.stringify(document).length >= 65_536) throw new Error('MaxDocumentSizeExceeded');
      state.documents.set(name, document);
    },
    addQueue(settings, deadLetters) {
      const queue = new LabQueue(settings, state, deadLetters);
      state.queues.set(queue.name, queue);
      return queue;
    },
  };
}

export const groupOf = (vpcId: string) => vpcId.replace('vpc-', 'sg-');
export const aclOf = (vpcId: string) => vpcId.replace('vpc-', 'acl-');

/** Adds a VPC's default security group and network ACL. */
function addDefaults(state: AwsState, vpcId: string, hasIpv6: boolean): void {
  const everywhere: LabPermission = {
    ipProtocol: '-1',
    ipRanges: [{ cidrIp: '0.0.0.0/0' }],
    ...(hasIpv6 && { ipv6Ranges: [{ cidrIpv6: '::/0' }] }),
  };
  const groupId = groupOf(vpcId);
  const fromItself: LabPermission = { ipProtocol: '-1', groups: [{ groupId, userId: state.account }] };
  const group = { groupId, groupName: 'default', vpcId, ingress: [fromItself], egress: [everywhere] };
  state.securityGroups.push(group);
  const all = [{ cidrBlock: '0.0.0.0/0' }, ...(hasIpv6 ? [{ ipv6CidrBlock: '::/0' }] : [])];
  const entries = all.flatMap((range, index) =>
    [true, false].flatMap((egress): LabAclEntry[] => [
      { ruleNumber: 100 + index, egress, ruleAction: 'allow', protocol: '-1', ...range },
      { ruleNumber: 32_767 + index, egress, ruleAction: 'deny', protocol: '-1', ...range },
    ]),
  );
  state.acls.push({ networkAclId: aclOf(vpcId), vpcId, isDefault: true, subnetIds: [], entries });
}

/** Returns a free address. The first four addresses of a subnet are skipped, because AWS reserves them. */
function freeAddress({ subnets, interfaces }: AwsState, subnetId: string): string {
  const octets = (subnets.get(subnetId)?.cidr ?? '').split('/')[0]?.split('.') ?? [];
  const base = octets.reduce((sum, octet) => sum * 256 + Number(octet), 0) + 4 + interfaces.size;
  return [24, 16, 8, 0].map((shift) => (base >>> shift) & 255).join('.');
}

function addInstance(state: AwsState, instanceId: string, node: NewNode): void {
  const cluster = node.cluster === undefined ? {} : { [`kubernetes.io/cluster/${node.cluster}`]: 'owned' };
  state.instances.set(instanceId, {
    instanceId,
    imageId: node.imageId ?? 'ami-0abcdef1234567890',
    subnetId: node.subnetId,
    privateDnsName: `${instanceId}.ec2.internal`,
    platformDetails: node.platformDetails ?? 'Linux/UNIX',
    launchTime: new Date(Math.floor(Date.now() / 1_000) * 1_000),
    state: node.state ?? 'running',
    tags: new Map(Object.entries({ ...cluster, ...node.tags })),
  });
  const networkInterfaceId = primaryInterfaceId(instanceId);
  state.interfaces.set(networkInterfaceId, {
    networkInterfaceId,
    subnetId: node.subnetId,
    addresses: [node.address ?? freeAddress(state, node.subnetId)],
    ipv6Addresses: node.ipv6Address === undefined ? [] : [node.ipv6Address],
    groupIds: [groupOf(state.subnets.get(node.subnetId)?.vpcId ?? '')],
    attachment: { instanceId, deviceIndex: 0 },
  });
  const registersAt = node.registersAfterMs === undefined ? 0 : Date.now() + node.registersAfterMs;
  state.agents.set(instanceId, {
    registersAt: node.isReady === false ? Number.POSITIVE_INFINITY : registersAt,
    pingStatus: 'Online',
    version: node.agentVersion ?? '3.3.3572.0',
    platformType: node.platformDetails?.startsWith('Windows') ? 'Windows' : 'Linux',
    machine: node.machine ?? noMachine,
    isCommandDenied: false,
    commandDelayMs: node.commandDelayMs ?? 0,
  });
}

function errorInjectionMethods({
  state,
  injectedErrors,
}: AccountContext): Pick<LabAccount, 'throttle' | 'deny' | 'fail'> {
  return {
    throttle(action, times) {
      injectedErrors.push({ action, apiError: throttlingError(serviceOf(action)), times });
    },
    deny(action, resource) {
      const apiError = accessDenied(action, state.account, resource);
      injectedErrors.push({ action: action.replace(/^\w+:/, ''), apiError, times: Number.POSITIVE_INFINITY });
    },
    fail(action, code, message, times = 1, status = 400) {
      injectedErrors.push({ action, apiError: new AwsApiError(code, message, status), times });
    },
  };
}
