import { setTimeout as delay } from 'node:timers/promises';
import * as z from 'zod';
import { makeDocument, makeLookDocument } from '../../../infra/aws/document';
import { documentName, lookDocumentName } from '../../../shared/aws/names';
import { startAws, type LabAws } from '../aws/aws';
import { readDeployment, type Deployment } from '../aws/deployment';
import { startStack, type LabStack } from '../aws/stack';
import { addWay, type LabWay } from '../aws/way';
import { openHome, type Home } from '../command-line';
import type { Networks } from '../networks';
import { inForce, outcomeIn, provenIn } from './node-view';
import type { LocalCloud, Pass, Say } from './scenario';
import { nodeProgram } from '../node-program';

const cluster = 'k8s-cluster';
const vpcId = 'vpc-0a1b2c3d4e5f60718';
const subnetId = 'subnet-0a1b2c3d4e5f60718';
const peeringId = 'pcx-0a1b2c3d4e5f60718';
const peerPlace = { vpcId: 'vpc-0b1b2c3d4e5f60718', subnetId: 'subnet-0b1b2c3d4e5f60718' };
const vpnGatewayId = 'vgw-0a1b2c3d';

/** From RunInstances to the state `running`, and from there until the SSM agent has booted and registered. */
const [runsAfterMs, registersAfterMs] = [2_000, 20_000];
/** A node is served in half of it. */
const patienceMs = 90_000;

/** The account of a scenario: its VPCs, the way to the peer, the documents, and a node. */
export interface Account {
  readonly aws: LabAws;
  readonly networks: Networks;
  /** Of the node. */
  readonly id: string;
  /** What `breakAt` breaks; absent where the peer is not in AWS. */
  readonly way?: LabWay;
  /** The config's file. */
  readonly config: string;
  readonly deployment: Deployment;
  readonly home: Home;
  readonly peermasq: LocalCloud['peermasq'];
  readonly close: () => Promise<void>;
}

export async function openAccount(
  networks: Networks,
  { state, more = '' }: { readonly state: 'pending' | 'running'; readonly more?: string },
): Promise<Account> {
  const deployment = readDeployment();
  const program = nodeProgram;
  const aws = await startAws();
  const home = openHome({ ...aws.env, PEERMASQ_STAGE: deployment.stage });
  aws.putDocument(documentName(deployment.stage), makeDocument(program));
  aws.putDocument(lookDocumentName(deployment.stage), makeLookDocument(program));
  const way = addNetworks(aws, networks);
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
    ...(way && { way }),
    config: home.write('peermasq.yaml', configFor(networks) + more),
    peermasq: (args) => home.peermasq([...args, '--cloud', 'aws']),
    close: async () => {
      await aws.settled();
      await aws.close();
      home.close();
    },
  };
}

/** What is deployed there, and a node that is to start. */
export async function openAws(networks: Networks): Promise<LocalCloud> {
  const account = await openAccount(networks, { state: 'pending' });
  const { aws, deployment, config, id, peermasq } = account;
  const stack = startStack(aws, deployment, { config });
  return {
    node: id,
    peermasq,
    sendEvent: (say) => sendEvent({ ...account, stack }, say),
    close: async () => {
      await stack.close();
      await account.close();
    },
  };
}

function linkKind({ topology }: Networks): 'peering' | 'vpn' {
  return topology.links[0]?.kind ?? 'peering';
}

function configFor(networks: Networks): string {
  const { node, peer } = networks.topology;
  return `clusters:
  ${cluster}:
    pods: [${node.pods.range}]
    masquerade: [${linkKind(networks) === 'peering' ? 'peerings' : 'vpn'}]
    probe: ["${peer.address}:${peer.port}"]
`;
}

/** @returns the way to a peer in AWS; what lies behind a VPN is no account's */
function addNetworks(aws: LabAws, networks: Networks): LabWay | undefined {
  const { networks: all, node, peer } = networks.topology;
  const rangeOf = (name: string) => all.find((network) => network.name === name)?.range ?? '';
  const destination = rangeOf(peer.network);
  const own = { vpcId, subnetId, range: rangeOf(node.network) };
  if (linkKind(networks) === 'peering') {
    return addWay(aws, { peeringId, node: own, peer: { ...peerPlace, range: destination, ...peer } });
  }
  const route = {
    destinationCidrBlock: destination,
    gatewayId: vpnGatewayId,
    origin: 'EnableVgwRoutePropagation',
  } as const;
  aws.addNetwork({ vpcId, cidrs: [own.range], subnetIds: [subnetId], routes: [route] });
  return undefined;
}

type Deployed = Account & { readonly stack: LabStack };

async function sendEvent(account: Deployed, say: Say): Promise<Pass> {
  const { aws, stack, networks, id } = account;
  const [calls, logged, sentAt] = [aws.calls.length, stack.log.length, Date.now()];
  sayLooks(account, sentAt, say);
  if (aws.state.instances.get(id)?.state === 'pending') await start(account, say);
  stack.put(aws.stateChangeEvent(id));
  await served(stack);
  sayWaiting(stack, say);
  return {
    ...provenIn(stack.log.slice(logged), sentAt),
    lookedUp: lookedUp(aws, calls),
    rules: await inForce(networks.node),
  };
}

async function start({ aws, stack, id }: Deployed, say: Say): Promise<void> {
  say('event', `RunInstances of ${id}, through CloudTrail, EventBridge and SQS`);
  stack.put(aws.runInstancesEvent([id]));
  await delay(runsAfterMs);
  const [instance, agent] = [aws.state.instances.get(id), aws.state.agents.get(id)];
  if (!instance || !agent) throw new Error(`There is no instance ${id}`);
  instance.state = 'running';
  agent.registersAt = Date.now() + registersAfterMs;
  say('', `and of its state running; its SSM agent registers ${registersAfterMs / 1_000} s later`);
}

/** Says what each look at the node found, and when the next one is. */
function sayLooks({ aws, stack }: Deployed, sentAt: number, say: Say): void {
  let looks = 0;
  stack.onInvoked = (name, { log }) => {
    if (name !== 'node-joined') return;
    const seconds = ((Date.now() - sentAt) / 1_000).toFixed(0);
    const { message, reason = 'proven', retryAfterSeconds } = outcomeIn(log) ?? {};
    // RunInstances alone; it is for the case that the event of the state is lost.
    if (message === undefined) return;
    const again = retryAfterSeconds === undefined ? '' : `; comes again in ${lastWait(aws)} s`;
    say(`look ${++looks}`, `after ${seconds} s: ${reason}${again}`);
  };
}

/**
 * Resolves when the event of the state has left the queue. That of RunInstances stays there for 90 s, in case
 * the other is lost.
 * @throws Error with what the functions threw and logged, when it takes too long
 */
async function served(stack: LabStack): Promise<void> {
  const late = AbortSignal.timeout(patienceMs);
  await stack.queue('nodes').atMost(1, late);
  if (!late.aborted) return;
  const said = [...stack.failures.map(String), ...stack.log.map((entry) => JSON.stringify(entry))];
  throw new Error(`The node was not served in ${patienceMs / 1_000} s:\n${said.join('\n')}`);
}

/** For how many seconds the message that was given back last, and comes soonest, is invisible. */
function lastWait({ calls }: LabAws): number {
  const { input } = calls.findLast(({ action }) => action === 'ChangeMessageVisibilityBatch') ?? {};
  return Math.min(...given.parse(input).Entries.map(({ VisibilityTimeout }) => VisibilityTimeout));
}

const given = z.object({ Entries: z.array(z.object({ VisibilityTimeout: z.number() })) });

/** SSM's own event of the command: for what whoever sent the command did not wait for. */
function sayWaiting(stack: LabStack, say: Say): void {
  const [event] = stack.queue('commands').messages;
  if (!event) return;
  const seconds = (event.visibleAt - event.sentAt) / 1_000;
  say('', `(SSM's own event waits ${seconds} s for command-finished, longer than this demo takes)`);
}

/** What the function asked the cloud, and the routes that it was told. */
export function lookedUp(aws: LabAws, before: number): string[] {
  const calls = new Set(aws.calls.slice(before).map(({ action }) => action));
  // The node's own network: of the other side no function asks.
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
