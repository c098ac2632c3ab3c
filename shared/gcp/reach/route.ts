import { addressOf, contains, parseCidr, type Cidr } from '../../core/cidr';
import { rangesOf, type NetworkRef } from '../network';
import { gcloud } from './gcloud';
import { leadsTo, legsTo, type Leg, type Legs } from './legs';
import { nameOf, type Peered, type Scene, type Told } from './scene';
import { inProject, Unseen, type View } from './view';

/** Whether the node's network has a route that leads to the destination. */
export async function routeThere(scene: Scene): Promise<Told> {
  const { ref, way } = scene;
  const legs = await scene.legs();
  if (leadsTo(legs.best, way.destination)) return { state: 'ok', evidence: [inWords(ref, legs.best)] };
  const across = await scene.across();
  const peered = across.by === 'peering' ? across.peered : undefined;
  const cure = peered && exchange(ref, peered, way.destination);
  return {
    state: 'broken',
    evidence: [...lacking(ref, legs, way.destination), ...exchanged(ref, peered)],
    ...(cure && { cure }),
  };
}

const inWords = (ref: NetworkRef, { range, kind, to, via }: Leg): string => {
  const into = to === 'hop' || to === 'internet' ? `, into ${via}` : '';
  return `${nameOf(ref)} routes ${range.text}: ${kind}${into}.`;
};

function lacking(ref: NetworkRef, { best, refused }: Legs, address: Cidr): string[] {
  const held = best
    ? `Of the routes of ${nameOf(ref)} the best that holds ${addressOf(address)} is for ${best.range.text} and leads nowhere near it: ${best.kind}, into ${best.via}.`
    : `No route of ${nameOf(ref)} holds ${addressOf(address)}.`;
  return [
    held,
    ...refused.map(({ range, kind }) => `It is offered ${range.text}, and does not import it: ${kind}.`),
  ];
}

/** What the two sides of a peering say of routes that are not of subnets. */
function exchanged(ref: NetworkRef, peered: Peered | undefined): string[] {
  if (peered?.peering.state !== 'ACTIVE') return [];
  const { peering, other, back, theirs } = peered;
  const yes = (is: boolean | null | undefined) => (is ? 'yes' : 'no');
  return [
    `Peering ${peering.name ?? ''} of ${nameOf(ref)} imports custom routes: ${yes(peering.importCustomRoutes)}.`,
    theirs instanceof Unseen
      ? `Whether ${nameOf(other)} exports them cannot be seen from here: ${theirs.message}.`
      : `Peering ${back?.name ?? ''} of ${nameOf(other)} exports custom routes: ${yes(back?.exportCustomRoutes)}.`,
  ];
}

/** What has the two sides exchange such a route; undefined where it is not that. */
function exchange(ref: NetworkRef, peered: Peered, address: Cidr): string | undefined {
  const { peering, other, back } = peered;
  if (peering.state !== 'ACTIVE') return undefined;
  const commands = [
    ...sixth(address, ref, peering),
    ...(back ? sixth(address, other, back) : []),
    ...(back && !back.exportCustomRoutes ? [update(other, back.name, '--export-custom-routes')] : []),
    ...(peering.importCustomRoutes ? [] : [update(ref, peering.name, '--import-custom-routes')]),
  ];
  return commands.length > 0 ? commands.join(' && ') : undefined;
}

/** Peerings exchange IPv6 only where they are told to (NetworkPeering.stackType). */
const sixth = ({ family }: Cidr, ref: NetworkRef, { stackType, name }: Peered['peering']): string[] =>
  family === 6 && stackType !== 'IPV4_IPV6' ? [update(ref, name, '--stack-type', 'IPV4_IPV6')] : [];

const update = (ref: NetworkRef, name: string | null | undefined, ...flags: string[]): string =>
  gcloud('networks', 'peerings', 'update', name ?? '', ...inProject(ref), '--network', ref.network, ...flags);

/** Whether the destination's network has a route back to the source, as the packet carries it. */
export async function routeBack(scene: Scene): Promise<Told> {
  const { way, ref } = scene;
  const across = await scene.across();
  switch (across.by) {
    case 'nothing':
      return { state: 'unknown', evidence: ['It is not known which network has the destination.'] };
    case 'peering':
      return overPeering(scene, across.peered);
    case 'route': {
      const { leg } = across;
      if (leg.to === 'subnet') return fromOwn(scene);
      return {
        state: 'unknown',
        evidence: [
          `What lies behind ${leg.via} is no part of ${nameOf(ref)}: it has to have a route to ${addressOf(way.source)}.`,
        ],
      };
    }
  }
}

async function fromOwn(scene: Scene): Promise<Told> {
  const { view, way, ref } = scene;
  const { best } = await legsTo(view, await scene.here(), way.source);
  if (leadsTo(best, way.source)) return { state: 'ok', evidence: [inWords(ref, best)] };
  return { state: 'broken', evidence: [`No route of ${nameOf(ref)} holds ${addressOf(way.source)}.`] };
}

async function overPeering(scene: Scene, peered: Peered): Promise<Told> {
  const { way, view, ref } = scene;
  const { other, theirs } = peered;
  if (theirs instanceof Unseen) throw theirs;
  if (!theirs) return { state: 'broken', evidence: [`There is no ${nameOf(other)}.`] };
  const here = await scene.here();
  const region = await regionWith(view, other, way.destination, here.region);
  const legs = await legsTo(view, { ref: other, network: theirs, region }, way.source);
  if (leadsTo(legs.best, way.source)) return { state: 'ok', evidence: [inWords(other, legs.best)] };
  const evidence = lacking(other, legs, way.source);
  const { best: own } = await legsTo(view, here, way.source);
  if (!leadsTo(own, way.source)) {
    return {
      state: 'broken',
      evidence: [...evidence, `Neither does one of ${nameOf(ref)}: nobody can answer it.`],
    };
  }
  const cure = peered.back && (exchangeBack(ref, peered, way.source, own) ?? listRoutes(peered, region));
  return { state: 'broken', evidence: [...evidence, inWords(ref, own)], ...(cure && { cure }) };
}

/** Routes of subnets need no setting to be exchanged: all that is left is to see what the peering brings. */
const listRoutes = ({ back, other }: Peered, region: string): string =>
  gcloud(
    ...[
      'networks',
      'peerings',
      'list-routes',
      back?.name ?? '',
      ...inProject(other),
      '--network',
      other.network,
    ],
    ...['--region', region, '--direction', 'INCOMING'],
  );

/** Dynamic routes are those of the region of the destination, as far as that is known. */
async function regionWith(view: View, ref: NetworkRef, address: Cidr, otherwise: string): Promise<string> {
  const subnets = await view.subnetworks(ref);
  const found = subnets.find((subnet) =>
    rangesOf(subnet).some((range) => contains(parseCidr(range), address)),
  );
  return found?.region?.split('/').at(-1) ?? otherwise;
}

/** The same exchange, seen from the other side; subnet routes need none. */
function exchangeBack(ref: NetworkRef, peered: Peered, address: Cidr, own: Leg): string | undefined {
  const { peering, back, other, theirs } = peered;
  if (!back || (own.isSubnetRoute && address.family === 4)) return undefined;
  return exchange(other, { peering: back, other: ref, back: peering, theirs }, address);
}
