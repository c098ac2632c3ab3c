import type { protos } from '@google-cloud/compute';
import { contains, parseCidr, type Address } from '../../core/model/cidr';
import { PermanentError } from '../../core/model/errors';
import type { Connection } from '../../core/doctor/check';
import { lazy } from '../../core/util/functional';
import {
  networkOf,
  parseNetworkUrl,
  regionOf,
  subnetRanges,
  type Instance,
  type Network,
  type NetworkRef,
} from '../discover/networks';
import type { GcpNode } from '../discover/nodes';
import { AccessDenied, orAccessDenied, type NetworkReader } from './network-reader';
import {
  lookUpRoutes,
  reachesAddress,
  type CandidateRoutes,
  type MatchedRoute,
  type NetworkLocation,
} from './route-lookup';

export type Peering = protos.google.cloud.compute.v1.INetworkPeering;

/** One of the peerings of the node's network. */
interface PeeringSide {
  readonly peering: Peering;
  readonly remote: NetworkRef;
}

/** The two sides of a peering. */
export interface PeeringSides extends PeeringSide {
  /** Undefined if the remote network does not exist. */
  readonly remoteNetwork: Network | AccessDenied | undefined;
  /** The remote network's peering with the node's network. */
  readonly remotePeering: Peering | undefined;
}

/** How the node's network routes traffic to the destination, or would route it if nothing were broken. */
export type NextHop =
  | { readonly kind: 'route'; readonly route: MatchedRoute }
  | { readonly kind: 'peering'; readonly sides: PeeringSides }
  | { readonly kind: 'none'; readonly denied: readonly AccessDenied[] };

/**
 * One connection, with the data that its checks share. Each value is read on first use.
 * @throws AccessDenied
 */
export interface PathContext {
  readonly reader: NetworkReader;
  readonly connection: Connection<GcpNode>;
  readonly instance: Instance;
  /** The node's network. */
  readonly ref: NetworkRef;
  localNetwork(): Promise<NetworkLocation>;
  /** The routes for the destination in the node's network. */
  candidates(): Promise<CandidateRoutes>;
  nextHop(): Promise<NextHop>;
}

export function makePathContext(reader: NetworkReader, connection: Connection<GcpNode>): PathContext {
  const { destination, node } = connection;
  const { instance } = node;
  const ref = networkOf(instance);
  if (!ref) throw networkGone(node.name);
  const localNetwork = lazy(async (): Promise<NetworkLocation> => {
    const network = await reader.network(ref);
    if (!network) throw networkGone(node.name);
    return { ref, network, region: regionOf(node.ref.zone), instance };
  });
  const candidates = lazy(async () => lookUpRoutes(reader, await localNetwork(), destination));
  const nextHop = lazy(async () => {
    const { network } = await localNetwork();
    return findNextHop({ reader, ref, network, destination, candidates: await candidates() });
  });
  return { reader, connection, instance, ref, localNetwork, candidates, nextHop };
}

const networkGone = (node: string) =>
  new PermanentError('not-found', `The network of ${node} no longer exists`, {
    advice: 'Check that the node is running.',
  });

interface Search {
  readonly reader: NetworkReader;
  readonly ref: NetworkRef;
  readonly network: Network;
  readonly destination: Address;
  readonly candidates: CandidateRoutes;
}

async function findNextHop(search: Search): Promise<NextHop> {
  const { network, destination, candidates } = search;
  const { best, notImported } = candidates;
  const isUsable = reachesAddress(best, destination);
  if (isUsable && best.targetKind !== 'peering') return { kind: 'route', route: best };
  const peerings = (network.peerings ?? []).flatMap((peering): PeeringSide[] => {
    const remote = parseNetworkUrl(peering.network);
    return remote ? [{ peering, remote }] : [];
  });
  const route = isUsable ? best : notImported[0];
  const routed = peerings.find(({ peering }) => route && peering.name === route.via);
  if (routed) return { kind: 'peering', sides: await readBothSides(search, routed) };
  const { found, denied } = await findPeering(search, peerings);
  return found ? { kind: 'peering', sides: await readBothSides(search, found) } : { kind: 'none', denied };
}

/**
 * Finds the peering, active or not, whose remote network has a subnet that contains the destination, or a route to the
 * destination.
 */
async function findPeering(
  { reader, destination }: Search,
  peerings: readonly PeeringSide[],
): Promise<{ readonly found: PeeringSide | undefined; readonly denied: readonly AccessDenied[] }> {
  const answers = await Promise.all(
    peerings.map(({ remote }) => orAccessDenied(hasDestination(reader, remote, destination))),
  );
  return {
    found: peerings.find((_, i) => answers[i] === true),
    denied: answers.filter((answer) => answer instanceof AccessDenied),
  };
}

async function hasDestination(
  reader: NetworkReader,
  ref: NetworkRef,
  destination: Address,
): Promise<boolean> {
  const ranges = (await reader.subnetworks(ref)).flatMap(subnetRanges);
  if (ranges.some((range) => contains(parseCidr(range), destination))) return true;
  const routes = await reader.staticRoutes(ref);
  return routes.some(
    ({ destRange, nextHopGateway, nextHopPeering }) =>
      destRange && !nextHopGateway && !nextHopPeering && contains(parseCidr(destRange), destination),
  );
}

async function readBothSides(
  { reader, ref }: Search,
  { peering, remote }: PeeringSide,
): Promise<PeeringSides> {
  const remoteNetwork = await orAccessDenied(reader.network(remote));
  const remotePeerings = remoteNetwork instanceof AccessDenied ? [] : (remoteNetwork?.peerings ?? []);
  const remotePeering = remotePeerings.find(({ network }) => {
    const peer = parseNetworkUrl(network);
    return peer?.project === ref.project && peer.network === ref.network;
  });
  return { peering, remote, remoteNetwork, remotePeering };
}
