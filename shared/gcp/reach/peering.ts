import { addressOf } from '../../core/cidr';
import { publicWords } from '../../core/reach';
import { isInternal } from '../../core/reserved';
import type { NetworkRef } from '../network';
import { gcloud } from './gcloud';
import { nameOf, type Peered, type Scene, type Told } from './scene';
import { inProject, Unseen } from './view';

/** Whether the peering that is to lead to the destination is there, from both sides. */
export async function peeringCheck(scene: Scene): Promise<Told> {
  const { ref, way } = scene;
  const across = await scene.across();
  const destination = addressOf(way.destination);
  switch (across.by) {
    case 'route': {
      const { kind, via, to } = across.leg;
      const over = to === 'subnet' ? '' : `, into ${via}`;
      return {
        state: 'not-needed',
        evidence: [`${nameOf(ref)} itself reaches ${destination}: ${kind}${over}.`],
      };
    }
    case 'peering':
      return { ...sides(ref, across.peered) };
    case 'nothing':
      return isInternal(way.destination)
        ? nothing(ref, destination, across.unseen)
        : { state: 'not-needed', evidence: [publicWords(destination)] };
  }
}

function nothing(ref: NetworkRef, destination: string, unseen: readonly Unseen[]): Told {
  const [first] = unseen;
  return {
    state: first ? 'unknown' : 'broken',
    evidence: [
      `No peering of ${nameOf(ref)} is known to lead to a network that has ${destination}.`,
      ...unseen.map(({ message }) => `${message}.`),
    ],
    cure:
      first?.command ?? gcloud('networks', 'peerings', 'list', ...inProject(ref), '--network', ref.network),
  };
}

function sides(ref: NetworkRef, peered: Peered): Told {
  const { peering, other, theirs, back } = peered;
  const details = peering.stateDetails ? ` (${peering.stateDetails.replace(/\.$/, '')})` : '';
  const own = `Peering ${peering.name ?? ''} of ${nameOf(ref)} is ${peering.state ?? ''}${details}.`;
  if (theirs instanceof Unseen) {
    const isActive = peering.state === 'ACTIVE';
    const evidence = [
      own,
      `The other side cannot be seen from here: ${theirs.message}.`,
      isActive
        ? 'A peering is ACTIVE only where both sides match.'
        : 'A peering is INACTIVE where the other side has none that matches.',
    ];
    return isActive ? { state: 'ok', evidence } : { state: 'broken', evidence, cure: create(other, ref) };
  }
  if (!theirs) return { state: 'broken', evidence: [own, `There is no ${nameOf(other)}.`] };
  if (!back) {
    const missing = `${sentence(nameOf(other))} has no peering with ${nameOf(ref)}.`;
    return { state: 'broken', evidence: [own, missing], cure: create(other, ref) };
  }
  const evidence = [own, `Peering ${back.name ?? ''} of ${nameOf(other)} is ${back.state ?? ''}.`];
  if (peering.state === 'ACTIVE' && back.state === 'ACTIVE') return { state: 'ok', evidence };
  return { state: 'broken', evidence, cure: createAgain(ref, peered) };
}

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

const longestName = 63;

const create = (on: NetworkRef, to: NetworkRef, name = `to-${to.network}`.slice(0, longestName)): string =>
  gcloud(
    ...['networks', 'peerings', 'create', name, ...inProject(on), '--network', on.network],
    ...['--peer-project', to.project, '--peer-network', to.network],
  );

/** Both sides are there and do not match: the one that is not active is made anew. */
function createAgain(ref: NetworkRef, { peering, other, back }: Peered): string {
  const isOurs = peering.state !== 'ACTIVE';
  const [on, to, name] = isOurs ? [ref, other, peering.name] : [other, ref, back?.name];
  const removal = ['networks', 'peerings', 'delete', name ?? '', ...inProject(on), '--network', on.network];
  return `${gcloud(...removal)} && ${create(on, to, name ?? '')}`;
}
