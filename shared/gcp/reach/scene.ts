import type { protos } from '@google-cloud/compute';
import { contains, parseCidr, type Cidr } from '../../core/cidr';
import { PermanentError } from '../../core/errors';
import type { Check } from '../../core/reach';
import type { Way } from '../../core/reach';
import { gcpRef, type Instance } from '../instance';
import { networkAt, networkOf, once, rangesOf, type Network, type NetworkRef } from '../network';
import { regionOf } from '../routes';
import { leadsTo, legsTo, type Leg, type Legs, type Place } from './legs';
import { orUnseen, Unseen, type View } from './view';

type Peering = protos.google.cloud.compute.v1.INetworkPeering;

/** What a check tells but its link. */
export type Told = Omit<Check, 'link'>;

/** The peering that is to lead to the destination, from both sides. */
export interface Peered {
  readonly peering: Peering;
  readonly other: NetworkRef;
  /** The network on the other side; undefined where it does not exist. */
  readonly theirs: Network | Unseen | undefined;
  /** Its peering with the node's network. */
  readonly back: Peering | undefined;
}

/** How the destination is to be reached. */
export type Across =
  | { readonly by: 'route'; readonly leg: Leg }
  | { readonly by: 'peering'; readonly peered: Peered }
  | { readonly by: 'nothing'; readonly unseen: readonly Unseen[] };

/** What all checks of one way have in common. @throws Unseen where something may not be seen */
export interface Scene {
  readonly view: View;
  readonly way: Way;
  readonly instance: Instance;
  /** Of the node's network, which also owns its firewall rules. */
  readonly ref: NetworkRef;
  here(): Promise<Place>;
  legs(): Promise<Legs>;
  across(): Promise<Across>;
}

export const nameOf = ({ network, project }: NetworkRef): string => `network ${network} of ${project}`;

export function makeScene(view: View, way: Way, instance: Instance): Scene {
  const ref = networkOf(instance);
  if (!ref) throw noNetwork(way);
  const region = regionOf(gcpRef(way.node).zone);
  const [places, paths, crossings] = [once<Place>(), once<Legs>(), once<Across>()];
  const scene: Scene = {
    view,
    way,
    instance,
    ref,
    here: () =>
      places('', async () => {
        const network = await view.network(ref);
        if (!network) throw noNetwork(way);
        return { ref, network, region, instance };
      }),
    legs: () => paths('', async () => legsTo(view, await scene.here(), way.destination)),
    across: () => crossings('', () => acrossOf(scene)),
  };
  return scene;
}

const noNetwork = ({ node }: Way) =>
  new PermanentError('not-found', `The network of ${node.name} is gone`, 'Look whether the node still runs.');

async function acrossOf(scene: Scene): Promise<Across> {
  const { view, way, ref } = scene;
  const { network } = await scene.here();
  const { best, refused } = await scene.legs();
  const peerings = (network.peerings ?? []).flatMap((peering): Pair[] => {
    const other = networkAt(peering.network);
    return other ? [{ peering, other }] : [];
  });
  const isUsable = leadsTo(best, way.destination);
  if (isUsable && best.to !== 'peering') return { by: 'route', leg: best };
  const leg = isUsable ? best : refused[0];
  const named = peerings.find(({ peering }) => leg && peering.name === leg.via);
  const { pair, unseen } = named
    ? { pair: named, unseen: [] }
    : await search(view, peerings, way.destination);
  if (!pair) return { by: 'nothing', unseen };
  return { by: 'peering', peered: await bothSides(view, ref, pair) };
}

interface Pair {
  readonly peering: Peering;
  readonly other: NetworkRef;
}

/** The peering, active or not, whose other network has the destination in a subnet or behind a route. */
async function search(
  view: View,
  peerings: readonly Pair[],
  destination: Cidr,
): Promise<{ pair?: Pair; unseen: Unseen[] }> {
  const seen = await Promise.all(
    peerings.map(async (pair) => [pair, await orUnseen(holds(view, pair.other, destination))] as const),
  );
  const pair = seen.find(([, isThere]) => isThere === true)?.[0];
  const unseen = seen.flatMap(([, isThere]) => (isThere instanceof Unseen ? [isThere] : []));
  return { ...(pair && { pair }), unseen };
}

async function holds(view: View, ref: NetworkRef, destination: Cidr): Promise<boolean> {
  const ranges = (await view.subnetworks(ref)).flatMap(rangesOf);
  if (ranges.some((range) => contains(parseCidr(range), destination))) return true;
  const routes = await view.staticRoutes(ref);
  return routes.some(
    ({ destRange, nextHopGateway, nextHopPeering }) =>
      destRange && !nextHopGateway && !nextHopPeering && contains(parseCidr(destRange), destination),
  );
}

async function bothSides(view: View, ref: NetworkRef, { peering, other }: Pair): Promise<Peered> {
  const theirs = await orUnseen(view.network(other));
  const back =
    theirs instanceof Unseen
      ? undefined
      : theirs?.peerings?.find(({ network }) => {
          const to = networkAt(network);
          return to?.project === ref.project && to.network === ref.network;
        });
  return { peering, other, theirs, back };
}
