import type { protos } from '@google-cloud/compute';
import { contains, parseCidr, type Cidr } from '../../core/model/cidr';
import { PermanentError } from '../../core/model/errors';
import type { Check } from '../../core/doctor/check';
import type { Connection } from '../../core/doctor/check';
import { lazy } from '../../core/util/memoize';
import type { GcpNode, Instance } from '../discover/instance';
import {
  parseNetworkUrl,
  networkOf,
  regionOf,
  subnetRanges,
  type Network,
  type NetworkRef,
} from '../discover/networks';
import {
  reachesAddress,
  lookUpRoutes,
  type MatchedRoute,
  type CandidateRoutes,
  type NetworkLocation,
} from './route-lookup';
import { orAccessDenied, AccessDenied, type NetworkReader } from './network-reader';

type Peering = protos.google.cloud.compute.v1.INetworkPeering;

/** What a check tells but its link. */
export type CheckResult = Omit<Check, 'name'>;

/** The peering that is to lead to the destination, from both sides. */
export interface PeeringSides {
  readonly peering: Peering;
  readonly remote: NetworkRef;
  /** The network on the other side; undefined where it does not exist. */
  readonly remoteNetwork: Network | AccessDenied | undefined;
  /** Its peering with the node's network. */
  readonly remotePeering: Peering | undefined;
}

/** How the destination is to be reached. */
export type NextHop =
  | { readonly kind: 'route'; readonly route: MatchedRoute }
  | { readonly kind: 'peering'; readonly sides: PeeringSides }
  | { readonly kind: 'none'; readonly denied: readonly AccessDenied[] };

/** What all checks of one way have in common. @throws Unseen where something may not be seen */
export interface PathContext {
  readonly reader: NetworkReader;
  readonly connection: Connection<GcpNode>;
  readonly instance: Instance;
  /** Of the node's network, which also owns its firewall rules. */
  readonly ref: NetworkRef;
  localNetwork(): Promise<NetworkLocation>;
  candidates(): Promise<CandidateRoutes>;
  nextHop(): Promise<NextHop>;
}

export const formatNetwork = ({ network, project }: NetworkRef): string => `network ${network} of ${project}`;

export function makePathContext(reader: NetworkReader, connection: Connection<GcpNode>): PathContext {
  const { instance } = connection.node;
  const ref = networkOf(instance);
  if (!ref) throw networkGone(connection);
  const region = regionOf(connection.node.ref.zone);
  const context: PathContext = {
    reader,
    connection,
    instance,
    ref,
    localNetwork: lazy(async () => {
      const network = await reader.network(ref);
      if (!network) throw networkGone(connection);
      return { ref, network, region, instance };
    }),
    candidates: lazy(async () => lookUpRoutes(reader, await context.localNetwork(), connection.destination)),
    nextHop: lazy(() => findNextHop(context)),
  };
  return context;
}

const networkGone = ({ node }: Connection) =>
  new PermanentError('not-found', `The network of ${node.name} is gone`, 'Look whether the node still runs.');

async function findNextHop(context: PathContext): Promise<NextHop> {
  const { reader, connection, ref } = context;
  const { network } = await context.localNetwork();
  const { best, notImported } = await context.candidates();
  const peerings = (network.peerings ?? []).flatMap((peering): PeeringCandidate[] => {
    const remote = parseNetworkUrl(peering.network);
    return remote ? [{ peering, remote }] : [];
  });
  const isUsable = reachesAddress(best, connection.destination);
  if (isUsable && best.to !== 'peering') return { kind: 'route', route: best };
  const route = isUsable ? best : notImported[0];
  const routedPeering = peerings.find(({ peering }) => route && peering.name === route.via);
  const { candidate, denied } = routedPeering
    ? { candidate: routedPeering, denied: [] }
    : await findPeering(reader, peerings, connection.destination);
  if (!candidate) return { kind: 'none', denied };
  return { kind: 'peering', sides: await readBothSides(reader, ref, candidate) };
}

interface PeeringCandidate {
  readonly peering: Peering;
  readonly remote: NetworkRef;
}

/** The peering, active or not, whose other network has the destination in a subnet or behind a route. */
async function findPeering(
  reader: NetworkReader,
  peerings: readonly PeeringCandidate[],
  destination: Cidr,
): Promise<{ candidate?: PeeringCandidate; denied: AccessDenied[] }> {
  const results = await Promise.all(
    peerings.map(
      async (candidate) =>
        [candidate, await orAccessDenied(hasDestination(reader, candidate.remote, destination))] as const,
    ),
  );
  const candidate = results.find(([, found]) => found === true)?.[0];
  const denied = results.flatMap(([, found]) => (found instanceof AccessDenied ? [found] : []));
  return { ...(candidate && { candidate }), denied };
}

async function hasDestination(reader: NetworkReader, ref: NetworkRef, destination: Cidr): Promise<boolean> {
  const ranges = (await reader.subnetworks(ref)).flatMap(subnetRanges);
  if (ranges.some((range) => contains(parseCidr(range), destination))) return true;
  const routes = await reader.staticRoutes(ref);
  return routes.some(
    ({ destRange, nextHopGateway, nextHopPeering }) =>
      destRange && !nextHopGateway && !nextHopPeering && contains(parseCidr(destRange), destination),
  );
}

async function readBothSides(
  reader: NetworkReader,
  ref: NetworkRef,
  { peering, remote }: PeeringCandidate,
): Promise<PeeringSides> {
  const remoteNetwork = await orAccessDenied(reader.network(remote));
  const remotePeering =
    remoteNetwork instanceof AccessDenied
      ? undefined
      : remoteNetwork?.peerings?.find(({ network }) => {
          const to = parseNetworkUrl(network);
          return to?.project === ref.project && to.network === ref.network;
        });
  return { peering, remote, remoteNetwork, remotePeering };
}
