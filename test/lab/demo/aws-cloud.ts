import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeDocument } from '../../../infra/aws/document';
import { documentName } from '../../../shared/aws/names';
import { startAws, type LabAws } from '../aws/aws';
import { invoke, sqsEvent } from '../aws/invoke';
import type { LabRoute } from '../aws/state';
import type { Networks } from '../networks';
import { inForce, provenIn } from './node-view';
import type { LocalCloud, Pass, Say } from './scenario';

const cluster = 'k8s-cluster';
const vpcId = 'vpc-0a1b2c3d4e5f60718';
const subnetId = 'subnet-0a1b2c3d4e5f60718';
const peeringId = 'pcx-0a1b2c3d4e5f60718';
const vpnGatewayId = 'vgw-0a1b2c3d';

/** The account of a scenario: its VPCs, the route to the peer, and the node with its SSM agent. */
export async function openAws(networks: Networks): Promise<LocalCloud> {
  const aws = await startAws();
  const folder = mkdtempSync(join(tmpdir(), 'peermasq-aws-'));
  const config = join(folder, 'peermasq.yaml');
  writeFileSync(config, configFor(networks));
  aws.putDocument(documentName('dev'), makeDocument(readFileSync('shared/node/peermasq.sh', 'utf8')));
  addNetworks(aws, networks);
  const id = aws.addNode({ subnetId, cluster, machine: networks.node });
  const env = { ...aws.env, PEERMASQ_CONFIG: config, PEERMASQ_STAGE: 'dev' };
  return {
    sendEvent: (say) => sendEvent(aws, networks, id, env, say),
    close: async () => {
      rmSync(folder, { recursive: true, force: true });
      await aws.close();
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

function addNetworks(aws: LabAws, networks: Networks): void {
  const { networks: all, node, peer } = networks.topology;
  const rangeOf = (name: string) => all.find((network) => network.name === name)?.range ?? '';
  const destination = rangeOf(peer.network);
  const isPeering = linkKind(networks) === 'peering';
  const route: LabRoute = isPeering
    ? { destinationCidrBlock: destination, vpcPeeringConnectionId: peeringId }
    : { destinationCidrBlock: destination, gatewayId: vpnGatewayId, origin: 'EnableVgwRoutePropagation' };
  aws.addNetwork({ vpcId, cidrs: [rangeOf(node.network)], subnetIds: [subnetId], routes: [route] });
  if (!isPeering) return;
  aws.state.peerings.push({
    vpcPeeringConnectionId: peeringId,
    status: 'active',
    requesterVpcInfo: { vpcId, cidrBlock: rangeOf(node.network) },
    accepterVpcInfo: { vpcId: 'vpc-0b1b2c3d4e5f60718', cidrBlock: destination },
  });
}

async function sendEvent(
  aws: LabAws,
  networks: Networks,
  id: string,
  env: Readonly<Record<string, string>>,
  say: Say,
): Promise<Pass> {
  const startedAt = performance.now();
  const before = aws.calls.length;
  say('event', `RunInstances of ${id}, through CloudTrail, EventBridge and SQS`);
  const { log } = await invoke('node-joined', sqsEvent([aws.runInstancesEvent([id])]), env);
  const eventToProvenMs = Math.round(performance.now() - startedAt);
  return {
    eventToProvenMs,
    ...provenIn(log),
    lookedUp: lookedUp(aws, before),
    rules: await inForce(networks.node),
  };
}

/** What the function asked the cloud, and the routes that it was told. */
function lookedUp(aws: LabAws, before: number): string[] {
  const calls = new Set(aws.calls.slice(before).map(({ action }) => action));
  const routes = aws.state.routeTables.flatMap((table) => table.routes);
  return [
    [...calls].join(', '),
    ...routes.map(
      ({ destinationCidrBlock, vpcPeeringConnectionId, gatewayId }) =>
        `${destinationCidrBlock ?? ''} through ${vpcPeeringConnectionId ?? gatewayId ?? ''}`,
    ),
  ];
}
