import { addressOf } from '../../core/model/cidr';
import { publicAddressEvidence } from '../../core/doctor/check';
import { isInternal } from '../../core/model/reserved-ranges';
import type { NetworkRef } from '../discover/networks';
import { gcloud } from './fix-command';
import { formatNetwork, type PeeringSides, type PathContext, type CheckResult } from './path-context';
import { inProject, AccessDenied } from './network-reader';

/** Whether the peering that is to lead to the destination is there, from both sides. */
export async function checkPeering(context: PathContext): Promise<CheckResult> {
  const { ref, connection } = context;
  const nextHop = await context.nextHop();
  const destination = addressOf(connection.destination);
  switch (nextHop.kind) {
    case 'route': {
      const { description, via, to } = nextHop.route;
      const nextHopText = to === 'subnet' ? '' : `, into ${via}`;
      return {
        state: 'not-needed',
        evidence: [`${formatNetwork(ref)} itself reaches ${destination}: ${description}${nextHopText}.`],
      };
    }
    case 'peering':
      return { ...evaluatePeering(ref, nextHop.sides) };
    case 'none':
      return isInternal(connection.destination)
        ? noPeering(ref, destination, nextHop.denied)
        : { state: 'not-needed', evidence: [publicAddressEvidence(destination)] };
  }
}

function noPeering(ref: NetworkRef, destination: string, denied: readonly AccessDenied[]): CheckResult {
  const [first] = denied;
  return {
    state: first ? 'unknown' : 'broken',
    evidence: [
      `No peering of ${formatNetwork(ref)} is known to lead to a network that has ${destination}.`,
      ...denied.map(({ message }) => `${message}.`),
    ],
    fix:
      first?.command ?? gcloud('networks', 'peerings', 'list', ...inProject(ref), '--network', ref.network),
  };
}

function evaluatePeering(ref: NetworkRef, sides: PeeringSides): CheckResult {
  const { peering, remote, remoteNetwork, remotePeering } = sides;
  const details = peering.stateDetails ? ` (${peering.stateDetails.replace(/\.$/, '')})` : '';
  const own = `Peering ${peering.name ?? ''} of ${formatNetwork(ref)} is ${peering.state ?? ''}${details}.`;
  if (remoteNetwork instanceof AccessDenied) {
    const isActive = peering.state === 'ACTIVE';
    const evidence = [
      own,
      `The other side cannot be seen from here: ${remoteNetwork.message}.`,
      isActive
        ? 'A peering is ACTIVE only where both sides match.'
        : 'A peering is INACTIVE where the other side has none that matches.',
    ];
    return isActive ? { state: 'ok', evidence } : { state: 'broken', evidence, fix: create(remote, ref) };
  }
  if (!remoteNetwork) return { state: 'broken', evidence: [own, `There is no ${formatNetwork(remote)}.`] };
  if (!remotePeering) {
    const missing = `${capitalize(formatNetwork(remote))} has no peering with ${formatNetwork(ref)}.`;
    return { state: 'broken', evidence: [own, missing], fix: create(remote, ref) };
  }
  const evidence = [
    own,
    `Peering ${remotePeering.name ?? ''} of ${formatNetwork(remote)} is ${remotePeering.state ?? ''}.`,
  ];
  if (peering.state === 'ACTIVE' && remotePeering.state === 'ACTIVE') return { state: 'ok', evidence };
  return { state: 'broken', evidence, fix: recreate(ref, sides) };
}

const capitalize = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

const longestName = 63;

const create = (owner: NetworkRef, to: NetworkRef, name = `to-${to.network}`.slice(0, longestName)): string =>
  gcloud(
    ...['networks', 'peerings', 'create', name, ...inProject(owner), '--network', owner.network],
    ...['--peer-project', to.project, '--peer-network', to.network],
  );

/** Both sides are there and do not match: the one that is not active is made anew. */
function recreate(ref: NetworkRef, { peering, remote, remotePeering }: PeeringSides): string {
  const isOurs = peering.state !== 'ACTIVE';
  const [owner, to, name] = isOurs ? [ref, remote, peering.name] : [remote, ref, remotePeering?.name];
  const removal = [
    'networks',
    'peerings',
    'delete',
    name ?? '',
    ...inProject(owner),
    '--network',
    owner.network,
  ];
  return `${gcloud(...removal)} && ${create(owner, to, name ?? '')}`;
}
