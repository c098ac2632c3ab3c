import { contains, parseCidr, type Address } from '../../core/model/cidr';
import type { CheckResult } from '../../core/doctor/check';
import { definedOnly } from '../../core/util/collections';
import { lastSegment, networkKey, subnetRanges, type NetworkRef } from '../discover/networks';
import { gcloud, listPeeringRoutes, updatePeering } from './fix-command';
import { AccessDenied, type NetworkReader } from './network-reader';
import type { PathContext, Peering, PeeringSides } from './path-context';
import {
  formatRoute,
  reachesAddress,
  lookUpRoutes,
  routeEvidence,
  type MatchedRoute,
  type CandidateRoutes,
} from './route-lookup';

/** Checks whether the node's network has a route to the destination. */
export async function checkForwardRoute(context: PathContext): Promise<CheckResult> {
  const { ref, connection } = context;
  const { destination } = connection;
  const candidates = await context.candidates();
  if (reachesAddress(candidates.best, destination))
    return { state: 'ok', evidence: [routeEvidence(ref, candidates.best)] };
  const nextHop = await context.nextHop();
  const sides = nextHop.kind === 'peering' ? nextHop.sides : undefined;
  return definedOnly({
    state: 'broken' as const,
    evidence: [
      ...missingRouteEvidence(ref, candidates, destination),
      ...(sides ? customRouteEvidence(ref, sides) : []),
    ],
    fix: sides && exchangeFix(ref, sides, destination),
  });
}

function missingRouteEvidence(
  ref: NetworkRef,
  { best, notImported }: CandidateRoutes,
  address: Address,
): string[] {
  const network = networkKey(ref);
  const bestEvidence = best
    ? `The best route of network ${network} for ${address.text} does not lead there: ${formatRoute(best)}.`
    : `Network ${network} has no route to ${address.text}.`;
  return [
    bestEvidence,
    ...notImported.map(
      ({ range, via, description }) =>
        `Peering ${via} offers ${range.text} (${description}), but network ${network} does not import it.`,
    ),
  ];
}

/**
 * Describes whether the peering exchanges custom routes. Routes other than subnet routes are exchanged only if both
 * sides enable that.
 */
function customRouteEvidence(ref: NetworkRef, sides: PeeringSides): string[] {
  const { peering, remote, remotePeering, remoteNetwork } = sides;
  if (peering.state !== 'ACTIVE') return [];
  return [
    `Peering ${peering.name ?? ''} of network ${networkKey(ref)} imports custom routes: ${peering.importCustomRoutes ? 'yes' : 'no'}.`,
    remoteNetwork instanceof AccessDenied
      ? `Could not check whether network ${networkKey(remote)} exports custom routes: ${remoteNetwork.message}.`
      : `Peering ${remotePeering?.name ?? ''} of network ${networkKey(remote)} exports custom routes: ${remotePeering?.exportCustomRoutes ? 'yes' : 'no'}.`,
  ];
}

/**
 * Returns the commands that make both sides exchange the route. Undefined if the sides are already set to exchange it.
 */
function exchangeFix(ref: NetworkRef, sides: PeeringSides, address: Address): string | undefined {
  const { peering, remote, remotePeering } = sides;
  if (peering.state !== 'ACTIVE') return undefined;
  const commands = [
    ...stackTypeFix(address, ref, peering),
    ...(remotePeering ? stackTypeFix(address, remote, remotePeering) : []),
    ...(remotePeering && !remotePeering.exportCustomRoutes
      ? [updatePeering(remote, remotePeering.name ?? '', '--export-custom-routes')]
      : []),
    ...(peering.importCustomRoutes ? [] : [updatePeering(ref, peering.name ?? '', '--import-custom-routes')]),
  ];
  return commands.length > 0 ? commands.join(' && ') : undefined;
}

/**
 * Returns a command for IPv6, because a peering exchanges IPv6 routes only if its stack type includes IPv6
 * (NetworkPeering.stackType).
 */
function stackTypeFix({ family }: Address, owner: NetworkRef, { stackType, name }: Peering): string[] {
  if (family === 4 || stackType === 'IPV4_IPV6') return [];
  return [updatePeering(owner, name ?? '', '--stack-type', 'IPV4_IPV6')];
}

/** Checks whether the destination's network has a route back to the packet's source address. */
export async function checkReturnRoute(context: PathContext): Promise<CheckResult> {
  const { connection } = context;
  const nextHop = await context.nextHop();
  switch (nextHop.kind) {
    case 'none':
      return { state: 'unknown', evidence: ['The network of the destination is unknown.'] };
    case 'peering':
      return checkPeeringReturn(context, nextHop.sides);
    case 'route': {
      const { route } = nextHop;
      if (route.targetKind === 'subnet') return checkLocalReturn(context);
      const evidence = `Cannot check the network behind ${route.via}; it needs a route to ${connection.source.text}.`;
      return { state: 'unknown', evidence: [evidence] };
    }
  }
}

async function checkLocalReturn(context: PathContext): Promise<CheckResult> {
  const { reader, connection, ref } = context;
  const { best } = await lookUpRoutes(reader, await context.localNetwork(), connection.source);
  if (reachesAddress(best, connection.source)) return { state: 'ok', evidence: [routeEvidence(ref, best)] };
  return { state: 'broken', evidence: missingRouteEvidence(ref, { notImported: [] }, connection.source) };
}

async function checkPeeringReturn(context: PathContext, sides: PeeringSides): Promise<CheckResult> {
  const { connection, reader, ref } = context;
  const { source, destination } = connection;
  const { remote, remoteNetwork, remotePeering } = sides;
  if (remoteNetwork instanceof AccessDenied) throw remoteNetwork;
  if (!remoteNetwork) return { state: 'broken', evidence: [`Network ${networkKey(remote)} does not exist.`] };
  const localNetwork = await context.localNetwork();
  const region = (await regionOfAddress(reader, remote, destination)) ?? localNetwork.region;
  const candidates = await lookUpRoutes(reader, { ref: remote, network: remoteNetwork, region }, source);
  if (reachesAddress(candidates.best, source)) {
    const leadsBack = routeEvidence(remote, candidates.best);
    const { best: forwardRoute } = await context.candidates();
    return forwardRoute?.targetKind === 'peering' && !forwardRoute.isSubnetRoute
      ? unknownBehindPeer(remote, { source, forwardRoute, leadsBack })
      : { state: 'ok', evidence: [leadsBack] };
  }
  const evidence = missingRouteEvidence(remote, candidates, source);
  const { best: localRoute } = await lookUpRoutes(reader, localNetwork, source);
  if (!reachesAddress(localRoute, source)) {
    const noneEither = `Network ${networkKey(ref)} has no route to ${source.text} either, so return traffic cannot reach it.`;
    return { state: 'broken', evidence: [...evidence, noneEither] };
  }
  return definedOnly({
    state: 'broken' as const,
    evidence: [...evidence, routeEvidence(ref, localRoute)],
    fix:
      remotePeering &&
      (returnExchangeFix(ref, { ...sides, remotePeering }, { source, localRoute }) ??
        listPeeringRoutes(remote, remotePeering.name ?? '', region)),
  });
}

/**
 * The result for a destination behind the peer. The peer only passes on the route, and the network behind it may not
 * have the peer's routes.
 */
function unknownBehindPeer(
  remote: NetworkRef,
  {
    source,
    forwardRoute,
    leadsBack,
  }: { readonly source: Address; readonly forwardRoute: MatchedRoute; readonly leadsBack: string },
): CheckResult {
  const { range, description } = forwardRoute;
  const evidence = `${range.text} is behind network ${networkKey(remote)}, which passes the route on (${description}). Cannot check whether the network behind it has a route to ${source.text}.`;
  const fix = gcloud(
    'routers',
    'list',
    '--project',
    remote.project,
    '--filter',
    `network~/${remote.network}$`,
  );
  return { state: 'unknown', evidence: [evidence, leadsBack], fix };
}

/** Returns the region of the subnet that contains the address. Learned routes depend on the region. */
async function regionOfAddress(
  reader: NetworkReader,
  ref: NetworkRef,
  address: Address,
): Promise<string | undefined> {
  const subnets = await reader.subnetworks(ref);
  const found = subnets.find((subnet) =>
    subnetRanges(subnet).some((range) => contains(parseCidr(range), address)),
  );
  return found?.region ? lastSegment(found.region) : undefined;
}

/**
 * Returns `exchangeFix` from the viewpoint of the other side. Undefined for IPv4 subnet routes, because peerings always
 * exchange them.
 */
function returnExchangeFix(
  ref: NetworkRef,
  { peering, remotePeering, remote, remoteNetwork }: PeeringSides & { readonly remotePeering: Peering },
  { source, localRoute }: { readonly source: Address; readonly localRoute: MatchedRoute },
): string | undefined {
  if (localRoute.isSubnetRoute && source.family === 4) return undefined;
  const reversed = { peering: remotePeering, remote: ref, remotePeering: peering, remoteNetwork };
  return exchangeFix(remote, reversed, source);
}
