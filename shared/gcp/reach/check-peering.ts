import type { CheckResult } from '../../core/doctor/check';
import { isInternal } from '../../core/model/reserved-ranges';
import { networkKey, type NetworkRef } from '../discover/networks';
import { createPeering, deletePeering, gcloud, inNetwork } from './fix-command';
import { AccessDenied } from './network-reader';
import type { PathContext, Peering, PeeringSides } from './path-context';
import { routeEvidence } from './route-lookup';

/** Checks whether a peering that is active on both sides leads to the destination. */
export async function checkPeering(context: PathContext): Promise<CheckResult> {
  const { ref, connection } = context;
  const nextHop = await context.nextHop();
  const destination = connection.destination.text;
  switch (nextHop.kind) {
    case 'route':
      return { state: 'not-needed', evidence: [routeEvidence(ref, nextHop.route)] };
    case 'peering':
      return evaluatePeering(ref, nextHop.sides);
    case 'none':
      if (!isInternal(connection.destination)) {
        const evidence = `${destination} is a public address: it is reached through the default internet gateway, not a peering.`;
        return { state: 'not-needed', evidence: [evidence] };
      }
      return noPeering(ref, destination, nextHop.denied);
  }
}

function noPeering(ref: NetworkRef, destination: string, denied: readonly AccessDenied[]): CheckResult {
  const [first] = denied;
  return {
    state: first ? 'unknown' : 'broken',
    evidence: [
      `Found no peering of network ${networkKey(ref)} that leads to ${destination}.`,
      ...denied.map(({ message }) => `${message}.`),
    ],
    fix: first?.command ?? gcloud('networks', 'peerings', 'list', ...inNetwork(ref)),
  };
}

function evaluatePeering(ref: NetworkRef, sides: PeeringSides): CheckResult {
  const { peering, remote, remoteNetwork, remotePeering } = sides;
  const local = stateEvidence(ref, peering);
  const fix = createPeering(remote, ref);
  if (remoteNetwork instanceof AccessDenied) return evaluateLocalSide(sides, remoteNetwork, ref);
  if (!remoteNetwork)
    return { state: 'broken', evidence: [local, `Network ${networkKey(remote)} does not exist.`] };
  if (!remotePeering) {
    const missing = `Network ${networkKey(remote)} has no peering with network ${networkKey(ref)}.`;
    return { state: 'broken', evidence: [local, missing], fix };
  }
  const evidence = [local, stateEvidence(remote, remotePeering)];
  const isActive = peering.state === 'ACTIVE' && remotePeering.state === 'ACTIVE';
  return isActive
    ? { state: 'ok', evidence }
    : { state: 'broken', evidence, fix: recreatePeering(ref, { ...sides, remotePeering }) };
}

function stateEvidence(ref: NetworkRef, { name, state, stateDetails }: Peering): string {
  const details = stateDetails ? ` (${stateDetails.replace(/\.$/, '')})` : '';
  return `Peering ${name ?? ''} of network ${networkKey(ref)} is ${state ?? ''}${details}.`;
}

/**
 * Evaluates a peering if only one of its sides is readable. The state of the readable side shows whether the other side
 * matches.
 */
function evaluateLocalSide(
  { peering, remote }: PeeringSides,
  denied: AccessDenied,
  ref: NetworkRef,
): CheckResult {
  const evidence = [stateEvidence(ref, peering), `Could not check the other side: ${denied.message}.`];
  return peering.state === 'ACTIVE'
    ? { state: 'ok', evidence: [...evidence, 'A peering is ACTIVE only if both sides match.'] }
    : {
        state: 'broken',
        evidence: [...evidence, 'A peering is INACTIVE until the other side has a matching peering.'],
        fix: createPeering(remote, ref),
      };
}

/** Returns the command for a peering whose two sides do not match. The side that is not active has to be recreated. */
function recreatePeering(
  ref: NetworkRef,
  { peering, remote, remotePeering }: PeeringSides & { readonly remotePeering: Peering },
): string {
  const isLocalActive = peering.state === 'ACTIVE';
  const owner = isLocalActive ? remote : ref;
  const peer = isLocalActive ? ref : remote;
  const name = (isLocalActive ? remotePeering : peering).name ?? '';
  return `${deletePeering(owner, name)} && ${createPeering(owner, peer, name)}`;
}
