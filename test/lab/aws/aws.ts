import { randomUUID } from 'node:crypto';
import type { SsmDocument } from '../../../infra/aws/document';
import type { Machine } from '../machine';
import { serve, type Call, type Fault } from './server';
import { denial } from './ssm';
import { AwsRefusal, makeState, type AwsState, type LabInstance, type LabRoute } from './state';

export interface NewNode {
  readonly subnetId: string;
  /** Becomes the tag that EKS and kOps nodes carry. */
  readonly cluster?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly state?: LabInstance['state'];
  readonly imageId?: string;
  readonly platformDetails?: string;
  readonly agentVersion?: string;
  /** From the start, unless false; `setReady` changes it. */
  readonly isReady?: boolean;
  /** Where the commands of its agent run. */
  readonly machine?: Machine;
}

export interface NewNetwork {
  readonly vpcId: string;
  readonly cidrs: readonly string[];
  readonly ipv6Cidrs?: readonly string[];
  readonly subnetIds: readonly string[];
  /** Of the main route table, which all subnets use until a test gives them another one. */
  readonly routes?: readonly LabRoute[];
}

/** EC2 and SSM of one region of one account, on a loopback port. */
export interface LabAws {
  readonly state: AwsState;
  /** Set these for the official clients. */
  readonly env: Readonly<Record<string, string>>;
  /** Every call that was made, refused ones too. */
  readonly calls: Call[];
  count(action: string): number;
  addNetwork(network: NewNetwork): void;
  /** @returns its instance id */
  addNode(node: NewNode): string;
  /** Whether its SSM agent is registered and online. */
  setReady(id: string, isReady: boolean): void;
  putDocument(name: string, document: SsmDocument): void;
  /** The next calls of an action are throttled, as the service does it. */
  throttle(action: string, times: number): void;
  /** Every further call of an action (`ec2:CreateTags`) is denied as IAM does it. */
  deny(action: string, resource?: string): void;
  fail(action: string, code: string, message: string, times?: number, status?: number): void;
  /** What EventBridge would deliver when these instances were started. */
  runInstancesEvent(ids: readonly string[]): Record<string, unknown>;
  stateChangeEvent(id: string): Record<string, unknown>;
  /** Receives the events that SSM emits. */
  onEvent: (event: object) => void;
  /** Resolves when every command has ended. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

export const labAccount = '123456789012';
export const labRegion = 'us-east-1';

/** A machine that cannot do anything: for nodes to which nothing is pushed. */
const nowhere: Machine = { run: () => Promise.reject(new Error('This node has no machine')) };

export async function startAws(): Promise<LabAws> {
  const state = makeState(labAccount, labRegion);
  const calls: Call[] = [];
  const faults: Fault[] = [];
  const running = new Set<Promise<void>>();
  const emit = (event: object) => {
    aws.onEvent(event);
  };
  const served = await serve({ state, running, emit }, calls, faults);
  let made = 0;

  const aws: LabAws = {
    state,
    calls,
    env: {
      AWS_ENDPOINT_URL_EC2: served.url,
      AWS_ENDPOINT_URL_SSM: served.url,
      AWS_REGION: labRegion,
      AWS_ACCESS_KEY_ID: 'AKIAIOSFODNN7EXAMPLE',
      AWS_SECRET_ACCESS_KEY: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
    },
    count: (action) => calls.filter((call) => call.action === action).length,

    addNetwork({ vpcId, cidrs, ipv6Cidrs = [], subnetIds, routes = [] }) {
      state.vpcs.set(vpcId, { vpcId, cidrs: [...cidrs], ipv6Cidrs: [...ipv6Cidrs], formerCidrs: [] });
      for (const subnetId of subnetIds) state.subnets.set(subnetId, vpcId);
      const routeTableId = vpcId.replace('vpc-', 'rtb-');
      state.routeTables.push({ routeTableId, vpcId, isMain: true, subnetIds: [], routes: [...routes] });
    },

    addNode(node) {
      if (!state.subnets.has(node.subnetId)) throw new Error(`There is no subnet ${node.subnetId}`);
      made += 1;
      const instanceId = `i-${made.toString(16).padStart(17, '0')}`;
      const cluster =
        node.cluster === undefined ? {} : { [`kubernetes.io/cluster/${node.cluster}`]: 'owned' };
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
      state.agents.set(instanceId, {
        registersAt: node.isReady === false ? Number.POSITIVE_INFINITY : 0,
        pingStatus: 'Online',
        version: node.agentVersion ?? '3.3.3572.0',
        platformType: node.platformDetails?.startsWith('Windows') ? 'Windows' : 'Linux',
        machine: node.machine ?? nowhere,
        isForbidden: false,
      });
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

    throttle(action, times) {
      const isSsm = /Command|InstanceInformation/.test(action);
      const refusal = isSsm
        ? new AwsRefusal('ThrottlingException', 'Rate exceeded')
        : new AwsRefusal('RequestLimitExceeded', 'Request limit exceeded.', 503);
      faults.push({ action, refusal, times });
    },
    deny(action, resource) {
      const refusal = denial(action, labAccount, resource);
      faults.push({ action: action.replace(/^\w+:/, ''), refusal, times: Number.POSITIVE_INFINITY });
    },
    fail(action, code, message, times = 1, status = 400) {
      faults.push({ action, refusal: new AwsRefusal(code, message, status), times });
    },

    runInstancesEvent(ids) {
      const items = ids.map((instanceId) => ({ instanceId }));
      return {
        ...envelope('AWS API Call via CloudTrail'),
        detail: {
          eventSource: 'ec2.amazonaws.com',
          eventName: 'RunInstances',
          awsRegion: labRegion,
          responseElements: { instancesSet: { items } },
        },
      };
    },
    stateChangeEvent(id) {
      const instance = state.instances.get(id);
      return {
        ...envelope('EC2 Instance State-change Notification'),
        detail: { 'instance-id': id, state: instance?.state },
      };
    },

    onEvent: () => undefined,
    async settled() {
      await Promise.all(running);
    },
    close: () => served.close(),
  };
  return aws;
}

function envelope(detailType: string) {
  return {
    version: '0',
    id: randomUUID(),
    'detail-type': detailType,
    source: 'aws.ec2',
    account: labAccount,
    time: new Date().toISOString(),
    region: labRegion,
    resources: [],
  };
}
