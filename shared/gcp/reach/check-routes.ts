import { addressOf, contains, parseCidr, type Cidr } from '../../core/model/cidr';
import { subnetRanges, type NetworkRef } from '../discover/networks';
import { gcloud } from './fix-command';
import { reachesAddress, lookUpRoutes, type MatchedRoute, type CandidateRoutes } from './route-lookup';
import { formatNetwork, type PeeringSides, type PathContext, type CheckResult } from './path-context';
import { inProject, AccessDenied, type NetworkReader } from './network-reader';

/** Whether the node's network has a route that leads to the destination. */
export async function checkForwardRoute(context: PathContext): Promise<CheckResult> {
  const { ref, connection } = context;
  const candidates = await context.candidates();
  if (reachesAddress(candidates.best, connection.destination))
    return { state: 'ok', evidence: [formatRoute(ref, candidates.best)] };
  const nextHop = await context.nextHop();
  const sides = nextHop.kind === 'peering' ? nextHop.sides : undefined;
  const fix = sides && exchangeFix(ref, sides, connection.destination);
  return {
    state: 'broken',
    evidence: [
      ...missingRouteEvidence(ref, candidates, connection.destination),
      ...customRouteEvidence(ref, sides),
    ],
    ...(fix && { fix }),
  };
}

const formatRoute = (ref: NetworkRef, { range, description, to, via }: MatchedRoute): string => {
  const into = to === 'next-hop' || to === 'internet' ? `, into ${via}` : '';
  return `${formatNetwork(ref)} routes ${range.text}: ${description}${into}.`;
};

function missingRouteEvidence(
  ref: NetworkRef,
  { best, notImported }: CandidateRoutes,
  address: Cidr,
): string[] {
  const bestEvidence = best
    ? `Of the routes of ${formatNetwork(ref)} the best that holds ${addressOf(address)} is for ${best.range.text} and leads nowhere near it: ${best.description}, into ${best.via}.`
    : `No route of ${formatNetwork(ref)} holds ${addressOf(address)}.`;
  return [
    bestEvidence,
    ...notImported.map(
      ({ range, description }) => `It is offered ${range.text}, and does not import it: ${description}.`,
    ),
  ];
}

/** What the two sides of a peering say of routes that are not of subnets. */
function customRouteEvidence(ref: NetworkRef, sides: PeeringSides | undefined): string[] {
  if (sides?.peering.state !== 'ACTIVE') return [];
  const { peering, remote, remotePeering, remoteNetwork } = sides;
  const yes = (is: boolean | null | undefined) => (is ? 'yes' : 'no');
  return [
    `Peering ${peering.name ?? ''} of ${formatNetwork(ref)} imports custom routes: ${yes(peering.importCustomRoutes)}.`,
    remoteNetwork instanceof AccessDenied
      ? `Whether ${formatNetwork(remote)} exports them cannot be seen from here: ${remoteNetwork.message}.`
      : `Peering ${remotePeering?.name ?? ''} of ${formatNetwork(remote)} exports custom routes: ${yes(remotePeering?.exportCustomRoutes)}.`,
  ];
}

/** What has the two sides exchange such a route; undefined where it is not that. */
function exchangeFix(ref: NetworkRef, sides: PeeringSides, address: Cidr): string | undefined {
  const { peering, remote, remotePeering } = sides;
  if (peering.state !== 'ACTIVE') return undefined;
  const commands = [
    ...stackTypeFix(address, ref, peering),
    ...(remotePeering ? stackTypeFix(address, remote, remotePeering) : []),
    ...(remotePeering && !remotePeering.exportCustomRoutes
      ? [updatePeering(remote, remotePeering.name, '--export-custom-routes')]
      : []),
    ...(peering.importCustomRoutes ? [] : [updatePeering(ref, peering.name, '--import-custom-routes')]),
  ];
  return commands.length > 0 ? commands.join(' && ') : undefined;
}

/** Peerings exchange IPv6 only where they are told to (NetworkPeering.stackType). */
const stackTypeFix = (
  { family }: Cidr,
  ref: NetworkRef,
  { stackType, name }: PeeringSides['peering'],
): string[] =>
  family === 6 && stackType !== 'IPV4_IPV6' ? [updatePeering(ref, name, '--stack-type', 'IPV4_IPV6')] : [];

const updatePeering = (ref: NetworkRef, name: string | null | undefined, ...flags: string[]): string =>
  gcloud('networks', 'peerings', 'update', name ?? '', ...inProject(ref), '--network', ref.network, ...flags);

/** Whether the destination's network has a route back to the source, as the packet carries it. */
export async function checkReturnRoute(context: PathContext): Promise<CheckResult> {
  const { connection, ref } = context;
  const nextHop = await context.nextHop();
  switch (nextHop.kind) {
    case 'none':
      return { state: 'unknown', evidence: ['It is not known which network has the destination.'] };
    case 'peering':
      return checkPeeringReturn(context, nextHop.sides);
    case 'route': {
      const { route } = nextHop;
      if (route.to === 'subnet') return checkLocalReturn(context);
      return {
        state: 'unknown',
        evidence: [
          `What lies behind ${route.via} is no part of ${formatNetwork(ref)}: it has to have a route to ${addressOf(connection.source)}.`,
        ],
      };
    }
  }
}

async function checkLocalReturn(context: PathContext): Promise<CheckResult> {
  const { reader, connection, ref } = context;
  const { best } = await lookUpRoutes(reader, await context.localNetwork(), connection.source);
  if (reachesAddress(best, connection.source)) return { state: 'ok', evidence: [formatRoute(ref, best)] };
  return {
    state: 'broken',
    evidence: [`No route of ${formatNetwork(ref)} holds ${addressOf(connection.source)}.`],
  };
}

async function checkPeeringReturn(context: PathContext, sides: PeeringSides): Promise<CheckResult> {
  const { connection, reader, ref } = context;
  const { remote, remoteNetwork } = sides;
  if (remoteNetwork instanceof AccessDenied) throw remoteNetwork;
  if (!remoteNetwork) return { state: 'broken', evidence: [`There is no ${formatNetwork(remote)}.`] };
  const localNetwork = await context.localNetwork();
  const region = await regionOfAddress(reader, remote, connection.destination, localNetwork.region);
  const candidates = await lookUpRoutes(
    reader,
    { ref: remote, network: remoteNetwork, region },
    connection.source,
  );
  if (reachesAddress(candidates.best, connection.source))
    return { state: 'ok', evidence: [formatRoute(remote, candidates.best)] };
  const evidence = missingRouteEvidence(remote, candidates, connection.source);
  const { best: localRoute } = await lookUpRoutes(reader, localNetwork, connection.source);
  if (!reachesAddress(localRoute, connection.source)) {
    return {
      state: 'broken',
      evidence: [...evidence, `Neither does one of ${formatNetwork(ref)}: nobody can answer it.`],
    };
  }
  const fix =
    sides.remotePeering &&
    (returnExchangeFix(ref, sides, connection.source, localRoute) ?? listPeeringRoutes(sides, region));
  return { state: 'broken', evidence: [...evidence, formatRoute(ref, localRoute)], ...(fix && { fix }) };
}

/** Routes of subnets need no setting to be exchanged: all that is left is to see what the peering brings. */
const listPeeringRoutes = ({ remotePeering, remote }: PeeringSides, region: string): string =>
  gcloud(
    ...[
      'networks',
      'peerings',
      'list-routes',
      remotePeering?.name ?? '',
      ...inProject(remote),
      '--network',
      remote.network,
    ],
    ...['--region', region, '--direction', 'INCOMING'],
  );

/** Dynamic routes are those of the region of the destination, as far as that is known. */
async function regionOfAddress(
  reader: NetworkReader,
  ref: NetworkRef,
  address: Cidr,
  fallback: string,
): Promise<string> {
  const subnets = await reader.subnetworks(ref);
  const found = subnets.find((subnet) =>
    subnetRanges(subnet).some((range) => contains(parseCidr(range), address)),
  );
  return found?.region?.split('/').at(-1) ?? fallback;
}

/** The same exchange, seen from the other side; subnet routes need none. */
function returnExchangeFix(
  ref: NetworkRef,
  sides: PeeringSides,
  address: Cidr,
  localRoute: MatchedRoute,
): string | undefined {
  const { peering, remotePeering, remote, remoteNetwork } = sides;
  if (!remotePeering || (localRoute.isSubnetRoute && address.family === 4)) return undefined;
  return exchangeFix(
    remote,
    { peering: remotePeering, remote: ref, remotePeering: peering, remoteNetwork },
    address,
  );
}
