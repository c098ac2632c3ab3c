import { setTimeout as delay } from 'node:timers/promises';
import * as z from 'zod';
import { makeDocument, makeSnapshotDocument } from '../../../infra/aws/document';
import { documentName, snapshotDocumentName } from '../../../shared/aws/names';
import { startLocalAws, type LocalAws } from '../aws/cloud';
import { readDeployment, type Deployment } from '../aws/deployment';
import { startStack, type LabStack } from '../aws/stack';
import { addConnection, type LabConnection } from '../aws/connection';
import { openCliHome, type CliHome } from '../cli-home';
import type { Networks } from '../networks';
import { installedRules, findOutcome, findProven } from './node-status';
import type { DemoCloud, NodeResult, Print } from './scenario';
import { nodeProgram } from '../node-program';

const cluster = 'k8s-cluster';
const vpcId = 'vpc-0a1b2c3d4e5f60718';
const subnetId = 'subnet-0a1b2c3d4e5f60718';
const peeringId = 'pcx-0a1b2c3d4e5f60718';
const peerNetwork = { vpcId: 'vpc-0b1b2c3d4e5f60718', subnetId: 'subnet-0b1b2c3d4e5f60718' };
const vpnGatewayId = 'vgw-0a1b2c3d';

/** The delay from RunInstances to the state `running`, and the further delay until the SSM agent registers. */
const [runsAfterMs, registersAfterMs] = [2_000, 20_000];
/** The timeout for the proof. It is twice the time that a proof usually takes. */
const provenTimeoutMs = 90_000;

/** The AWS account in a scenario: its VPCs, the connection to the peer, the SSM documents, and a node. */
export interface DemoAccount {
  readonly aws: LocalAws;
  readonly networks: Networks;
  /** The ID of the node. */
  readonly id: string;
  /** The connection to the peer. Absent if the peer is not in AWS. */
  readonly connection?: LabConnection;
  /** The path of the config file. */
  readonly config: string;
  readonly deployment: Deployment;
  readonly home: CliHome;
  readonly peermasq: DemoCloud['peermasq'];
  readonly close: () => Promise<void>;
}

export async function openAccount(
  networks: Networks,
  { state, more = '' }: { readonly state: 'pending' | 'running'; readonly more?: string },
): Promise<DemoAccount> {
  const deployment = readDeployment();
  const program = nodeProgram;
  const aws = await startLocalAws();
  const home = openCliHome({ ...aws.env, PEERMASQ_STAGE: deployment.stage });
  aws.putDocument(documentName(deployment.stage), makeDocument(program));
  aws.putDocument(snapshotDocumentName(deployment.stage), makeSnapshotDocument(program));
  const connection = addNetworks(aws, networks);
  const id = aws.addNode({
    subnetId,
    cluster,
    address: networks.topology.node.address,
    machine: networks.node,
    state,
    isReady: state === 'running',
  });
  return {
    aws,
    networks,
    id,
    deployment,
    home,
    ...(connection && { connection }),
    config: home.write('peermasq.yaml', configFor(networks) + more),
    peermasq: (args) => home.peermasq([...args, '--cloud', 'aws']),
    close: async () => {
      await aws.waitForCommands();
      await aws.close();
      home.close();
    },
  };
}

/** Opens the deployment and adds a node that has not started yet. */
export async function openAws(networks: Networks): Promise<DemoCloud> {
  const account = await openAccount(networks, { state: 'pending' });
  const { aws, deployment, config, id, peermasq } = account;
  const stack = startStack(aws, deployment, { config });
  return {
    node: id,
    peermasq,
    sendEvent: (print) => sendEvent({ ...account, stack }, print),
    close: async () => {
      await stack.close();
      await account.close();
    },
  };
}

function connectionKind({ topology }: Networks): 'peering' | 'vpn' {
  return topology.links[0]?.kind ?? 'peering';
}

function configFor(networks: Networks): string {
  const { node, peer } = networks.topology;
  return `clusters:
  ${cluster}:
    pods: [${node.pods.range}]
    masquerade: [${connectionKind(networks) === 'peering' ? 'peerings' : 'vpn'}]
    probe: ["${peer.address}:${peer.port}"]
`;
}

/**
 * Adds the networks of the scenario.
 * @returns the connection to a peer in AWS; undefined for a peer behind a VPN, because it is not in AWS
 */
function addNetworks(aws: LocalAws, networks: Networks): LabConnection | undefined {
  const { networks: all, node, peer } = networks.topology;
  const rangeOf = (name: string) => all.find((network) => network.name === name)?.range ?? '';
  const destination = rangeOf(peer.network);
  const own = { vpcId, subnetId, range: rangeOf(node.network) };
  if (connectionKind(networks) === 'peering') {
    return addConnection(aws, {
      peeringId,
      node: own,
      peer: { ...peerNetwork, range: destination, ...peer },
    });
  }
  const route = {
    destinationCidrBlock: destination,
    gatewayId: vpnGatewayId,
    origin: 'EnableVgwRoutePropagation',
  } as const;
  aws.addNetwork({ vpcId, cidrs: [own.range], subnetIds: [subnetId], routes: [route] });
  return undefined;
}

type DeployedAccount = DemoAccount & { readonly stack: LabStack };

async function sendEvent(account: DeployedAccount, print: Print): Promise<NodeResult> {
  const { aws, stack, networks, id } = account;
  const [calls, logged, sentAt] = [aws.calls.length, stack.log.length, Date.now()];
  printAttempts(account, sentAt, print);
  if (aws.state.instances.get(id)?.state === 'pending') await start(account, print);
  stack.put(aws.stateChangeEvent(id));
  await waitUntilServed(stack);
  printPendingEvent(stack, print);
  return {
    ...findProven(stack.log.slice(logged), sentAt),
    discovery: discovery(aws, calls),
    rules: await installedRules(networks.node),
  };
}

async function start({ aws, stack, id }: DeployedAccount, print: Print): Promise<void> {
  print('event', `RunInstances of ${id}, through CloudTrail, EventBridge and SQS`);
  stack.put(aws.runInstancesEvent([id]));
  await delay(runsAfterMs);
  const [instance, agent] = [aws.state.instances.get(id), aws.state.agents.get(id)];
  if (!instance || !agent) throw new Error(`There is no instance ${id}`);
  instance.state = 'running';
  agent.registersAt = Date.now() + registersAfterMs;
  print('', `and of its state running; its SSM agent registers ${registersAfterMs / 1_000} s later`);
}

/** Prints the result of each attempt to handle the node's event, and the delay until the next attempt. */
function printAttempts({ aws, stack }: DeployedAccount, sentAt: number, print: Print): void {
  let attempts = 0;
  stack.onInvoked = (name, { log }) => {
    if (name !== 'node-joined') return;
    const seconds = ((Date.now() - sentAt) / 1_000).toFixed(0);
    const { message, reason = 'proven', retryAfterSeconds } = findOutcome(log) ?? {};
    // This invocation handled only the RunInstances event, which is a fallback in case the state event is lost.
    if (message === undefined) return;
    const retryText = retryAfterSeconds === undefined ? '' : `; retried in ${lastRetryDelay(aws)} s`;
    print(`attempt ${++attempts}`, `after ${seconds} s: ${reason}${retryText}`);
  };
}

/**
 * Resolves when the state event has left the queue. The RunInstances event stays there for 90 s, in case the state
 * event is lost.
 * @throws Error, on timeout, with the functions' errors and logs
 */
async function waitUntilServed(stack: LabStack): Promise<void> {
  const late = AbortSignal.timeout(provenTimeoutMs);
  await stack.queue('nodes').waitUntilAtMost(1, late);
  if (!late.aborted) return;
  const said = [...stack.failures.map(String), ...stack.log.map((entry) => JSON.stringify(entry))];
  throw new Error(`The node was not proven within ${provenTimeoutMs / 1_000} s:\n${said.join('\n')}`);
}

/** Returns the remaining visibility timeout, in seconds, of the message that was returned to the queue last. */
function lastRetryDelay({ calls }: LocalAws): number {
  const { input } = calls.findLast(({ action }) => action === 'ChangeMessageVisibilityBatch') ?? {};
  return Math.min(
    ...visibilityChanges.parse(input).Entries.map(({ VisibilityTimeout }) => VisibilityTimeout),
  );
}

const visibilityChanges = z.object({ Entries: z.array(z.object({ VisibilityTimeout: z.number() })) });

/**
 * Prints that SSM's event about the command is still delayed. It is needed only for results that the sender did not
 * wait for.
 */
function printPendingEvent(stack: LabStack, print: Print): void {
  const [event] = stack.queue('commands').messages;
  if (!event) return;
  const seconds = (event.visibleAt - event.sentAt) / 1_000;
  print('', `(SSM's event arrives after ${seconds} s, later than the demo ends)`);
}

/** Lists the API calls that the function made and the routes that it found. */
export function discovery(aws: LocalAws, before: number): string[] {
  const calls = new Set(aws.calls.slice(before).map(({ action }) => action));
  // Shows only the routes of the node's own network, because the functions do not read the other side.
  const tables = aws.state.routeTables.filter((table) => table.vpcId === vpcId);
  const routes = tables.flatMap((table) => table.routes);
  return [
    [...calls].join(', '),
    ...routes.map(
      ({ destinationCidrBlock, vpcPeeringConnectionId, gatewayId }) =>
        `${destinationCidrBlock ?? ''} through ${vpcPeeringConnectionId ?? gatewayId ?? ''}`,
    ),
  ];
}
